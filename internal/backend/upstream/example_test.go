package upstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/backend/upstream"
	"github.com/confcom/confcom/sgx"
)

func ExampleBackend() {
	// A simulated daemon in place of Intel's aesmd.
	dir, _ := os.MkdirTemp("", "aesmd")
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "aesm.socket")
	listener, err := aesm.Listen(socket)
	if err != nil {
		fmt.Println(err)
		return
	}
	simulation, _ := simulated.New("node-1")
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- (&aesm.Server{Handler: aesmd{simulation}}).Serve(ctx, listener) }()

	backend := upstream.New(socket, slog.Default())
	size, err := backend.QuoteSize(ctx)
	fmt.Println("the next quote has", size, "bytes,", err)

	stop()
	fmt.Println(<-stopped)
	// Output:
	// the next quote has 4304 bytes, <nil>
	// <nil>
}

// aesmd is an aesm.Handler that quotes with a simulated backend.
type aesmd struct{ backend *simulated.Backend }

func (d aesmd) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	return []aesm.KeyID{aesm.IntelQE3KeyID()}, nil
}

func (d aesmd) InitQuote(ctx context.Context, _ aesm.Caller, _ aesm.KeyID) (aesm.Initialized, error) {
	return d.backend.InitQuote(ctx)
}

func (d aesmd) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	return d.backend.QuoteSize(ctx)
}

func (d aesmd) Quote(ctx context.Context, _ aesm.Caller, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	return d.backend.Quote(ctx, report, challenge)
}
