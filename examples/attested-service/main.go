// Attested-service is a service that receives a secret only if it runs in the right
// enclave: its relying party sends a nonce, verifies the quote that the service answers
// with, and encrypts the secret for the key that the quote binds.
//
// This sample also runs on machines without SGX, so that a processor in software takes the
// place of its enclave. The same program runs in an enclave of Gramine: see
// examples/gramine.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	address := pflag.String("address", ":8080", "serve on this `address`")
	name := pflag.String("enclave", "simulated", "what the service runs in: simulated or gramine")
	pflag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *name); err != nil {
		fmt.Fprintln(os.Stderr, "attested-service:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, name string) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	in, err := newEnclave(name)
	if err != nil {
		return err
	}
	s, err := newService(in, log)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:         address,
		Handler:      s.handler(),
		ReadTimeout:  10 * time.Second,
		WriteTimeout: 30 * time.Second, // a quote may take 15 seconds
		IdleTimeout:  time.Minute,
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error)
	go func() {
		<-ctx.Done()
		within, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- server.Shutdown(within)
	}()
	log.Info("serving", "address", address, "enclave", name)
	err = server.ListenAndServe()
	stop()
	if stopErr := <-stopped; errors.Is(err, http.ErrServerClosed) {
		return stopErr
	}
	return err
}
