package certificates_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
)

func ExampleCache() {
	dir, err := os.MkdirTemp("", "certificates")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	cache := certificates.Cache{
		Dir:          dir,
		RefreshAfter: 12 * time.Hour,
		Fetch: func(context.Context, certificates.Query) (certificates.Answer, error) {
			fmt.Println("asking the provider")
			return certificates.Answer{Data: certificates.Data{Chain: []byte("<html>Log in</html>")}}, nil
		},
		Log: slog.New(slog.DiscardHandler),
	}
	for range 3 {
		// In a worker, Intel's library calls Get while it initializes its key.
		err := cache.Initialize(func() error {
			_, err := cache.Get(certificates.ID{}, nil)
			return err
		})
		fmt.Println(err)
	}
	// Output:
	// asking the provider
	// the certificates take 19 bytes, want 500 to 12294
	// the certificates take 19 bytes, want 500 to 12294
	// the certificates take 19 bytes, want 500 to 12294
}
