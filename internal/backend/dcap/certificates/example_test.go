package certificates_test

import (
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
		Fetch: func(certificates.ID, []byte) (certificates.Data, error) {
			fmt.Println("asking the provider")
			return certificates.Data{Chain: []byte("-----BEGIN CERTIFICATE-----…")}, nil
		},
		Log: slog.New(slog.DiscardHandler),
	}
	for range 3 {
		data, err := cache.Get(certificates.ID{}, nil)
		fmt.Println(len(data.Chain), err)
	}
	// Output:
	// asking the provider
	// 30 <nil>
	// 30 <nil>
	// 30 <nil>
}
