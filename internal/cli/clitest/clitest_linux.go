// Package clitest runs the confcom command in tests, and quote helpers for it.
package clitest

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/cli"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

// Run runs a command line and returns what it printed.
func Run(t testing.TB, stdin []byte, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	command := cli.New()
	command.SetIn(bytes.NewReader(stdin))
	command.SetOut(&out)
	command.SetErr(&errs)
	exit = cli.Run(t.Context(), command, args)
	return exit, out.String(), errs.String()
}

// MustRun runs a command line that must succeed, and returns its output.
func MustRun(t testing.TB, args ...string) (stdout string) {
	t.Helper()
	exit, out, errs := Run(t, nil, args...)
	if exit != 0 {
		t.Fatalf("%q: exit %d: %s", args, exit, errs)
	}
	return out
}

// Serve runs a quote helper with a simulated platform until the test ends.
func Serve(t testing.TB) (socket string) {
	return ServeBefore(t, func() error { return nil })
}

// ServeBefore is Serve with a function that is called before each quote, and may
// refuse it.
func ServeBefore(t testing.TB, before func() error) (socket string) {
	t.Helper()
	backend, err := simulated.New("cli")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "aesm.socket")
	listener, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		server := aesm.Server{Handler: handler{quoting.NewService(backend, 1, nil), before}}
		stopped <- server.Serve(ctx, listener)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// handler is a handler that calls before for each quote.
type handler struct {
	aesm.Handler
	before func() error
}

func (h handler) Quote(ctx context.Context, caller aesm.Caller, key aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	if err := h.before(); err != nil {
		return aesm.Quoted{}, err
	}
	return h.Handler.Quote(ctx, caller, key, report, challenge)
}
