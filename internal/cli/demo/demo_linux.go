package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/cli/enclave"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx/simulation"
)

func configure(command *cobra.Command) {
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := run(command); err != nil {
			return exit.Failed(err)
		}
		return nil
	}
}

func run(command *cobra.Command) error {
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Printing to a pipe that nobody reads ends the process, as with head, so that comes last.
	var out bytes.Buffer
	err := demonstrate(ctx, &out)
	if _, e := out.WriteTo(command.OutOrStdout()); err == nil {
		err = e
	}
	return err
}

// demonstrate writes what it does to out. It has removed its directory when it returns.
func demonstrate(ctx context.Context, out io.Writer) (err error) {
	printf := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

	dir, err := os.MkdirTemp("", "confcom-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "aesm.socket")

	printf("1. Start a quote helper with a SIMULATED platform on %s", socket)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stopped, err := startHelper(ctx, socket)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		if e := <-stopped; err == nil {
			err = e
		}
	}()

	message := "demo at " + time.Now().UTC().Format(time.RFC3339)
	printf("2. From a SIMULATED enclave, request a quote that binds the message %q", message)
	var app enclave.Enclave
	copy(app.ReportData[:], message)
	client := aesm.Client{Socket: socket}
	start := time.Now()
	data, err := client.Quote(ctx, app.Report)
	if err != nil {
		return err
	}
	printf("   The quote helper returned it over AESM in %s:\n", time.Since(start).Round(100*time.Microsecond))
	q, err := quote.Parse(data)
	if err != nil {
		return err
	}
	if err := output.Quote(out, q, len(data)); err != nil {
		return err
	}
	if q.ReportData() != app.ReportData {
		return errors.New("the quote binds another message")
	}

	printf("\n3. Verify it, trusting Intel's root: a simulated platform must be rejected\n")
	if err := verify(out, q, attest.IntelRoot(), false); err != nil {
		return err
	}
	printf("\n4. Verify it, trusting the simulated root, as only tests and demos should\n")
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		return err
	}
	return verify(out, q, root, true)
}

// startHelper serves quotes of a simulated platform until ctx is done. The channel
// then yields the server's error.
func startHelper(ctx context.Context, socket string) (<-chan error, error) {
	backend, err := simulated.New("demo")
	if err != nil {
		return nil, err
	}
	listener, err := aesm.Listen(socket)
	if err != nil {
		return nil, err
	}
	stopped := make(chan error, 1)
	go func() {
		server := aesm.Server{Handler: quoting.NewService(backend, 1, nil)}
		stopped <- server.Serve(ctx, listener)
	}()
	return stopped, nil
}

// verify writes the attestation result of q, whose verdict must be the expected one.
func verify(out io.Writer, q *quote.Quote, root attest.Root, want bool) error {
	now := time.Now()
	collateral, err := attesttest.NewCollateral(now)
	if err != nil {
		return err
	}
	data := q.ReportData()
	result, err := attest.NewVerifier(root).Verify(q, collateral, attest.Policy{AnyEnclave: true, ReportData: data[:]}, now)
	if result == nil {
		return err
	}
	if err := output.Result(out, result, now); err != nil {
		return err
	}
	if result.Trusted != want {
		return fmt.Errorf("unexpected verdict: trusted=%t, want %t", result.Trusted, want)
	}
	return nil
}
