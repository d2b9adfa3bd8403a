package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sync/errgroup"
)

// serveRegistry runs an empty registry, in memory and without passwords, until ctx is done.
// It prints its address to out and a line for each request to requests: who asked for what.
func serveRegistry(ctx context.Context, address string, out, requests io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	if !isLoopback(listener.Addr().String()) {
		listener.Close()
		return fmt.Errorf("registry: %s is not a loopback address: anybody could push to it", listener.Addr())
	}
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		listener.Close()
		return err
	}
	lines := log.New(requests, "", 0)
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	server := http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lines.Print(r.Method, " ", r.URL.Path, " ", r.UserAgent())
			content.ServeHTTP(w, r)
		}),
	}
	serving, ctx := errgroup.WithContext(ctx)
	serving.Go(func() error { return server.Serve(listener) })
	serving.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	if err := serving.Wait(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// isLoopback reports whether nobody but this machine reaches a registry at host or
// host:port. A name other than localhost may be anybody's.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
