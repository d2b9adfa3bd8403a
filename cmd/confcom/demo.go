package main

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx/simulation"
)

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Run the whole way of a quote here, with a simulated SGX platform",
		Long: `Run the whole way of a quote here, with a simulated SGX platform: a quote helper
on a socket of its own, a client that gets a quote over AESM, and a verifier. It
takes a moment, needs neither SGX nor Kubernetes, and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := demo(command); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}

func demo(command *cobra.Command) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(command.OutOrStdout(), format+"\n", args...) }

	dir, err := os.MkdirTemp("", "confcom-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "aesm.socket")

	say("1. A quote helper starts, with a SIMULATED platform, on %s", socket)
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	stopped, err := startHelper(ctx, socket)
	if err != nil {
		stop()
		return err
	}
	defer func() {
		stop()
		if e := <-stopped; err == nil {
			err = e
		}
	}()

	message := "demo at " + time.Now().UTC().Format(time.RFC3339)
	say("2. An enclave, SIMULATED too, asks it for a quote that binds %q", message)
	var app enclave
	copy(app.reportData[:], message)
	client := aesm.Client{Socket: socket}
	start := time.Now()
	data, err := client.Quote(ctx, app.report)
	if err != nil {
		return err
	}
	say("   It comes back over AESM in %s:\n", time.Since(start).Round(100*time.Microsecond))
	q, err := quote.Parse(data)
	if err != nil {
		return err
	}
	if err := showQuote(command.OutOrStdout(), q, len(data)); err != nil {
		return err
	}
	if q.ReportData() != app.reportData {
		return errors.New("the quote binds another message")
	}

	say("\n3. A verifier that trusts Intel's root must refuse it:\n")
	if err := demoVerdict(command, q, attest.IntelRoot(), false); err != nil {
		return err
	}
	say("\n4. A verifier that was given the simulated root on purpose accepts it:\n")
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		return err
	}
	return demoVerdict(command, q, root, true)
}

// startHelper serves quotes of a simulated platform until ctx is done; then the
// channel yields how it ended.
func startHelper(ctx context.Context, socket string) (<-chan error, error) {
	platform, err := simulated.New("demo")
	if err != nil {
		return nil, err
	}
	listener, err := aesm.Listen(socket)
	if err != nil {
		return nil, err
	}
	stopped := make(chan error, 1)
	go func() {
		server := aesm.Server{Handler: quoting.NewService(platform, 1, nil)}
		stopped <- server.Serve(ctx, listener)
	}()
	return stopped, nil
}

// demoVerdict shows the verdict on q, which must be the expected one.
func demoVerdict(command *cobra.Command, q *quote.Quote, root attest.Root, want bool) error {
	collateral, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		return err
	}
	data := q.ReportData()
	result, err := attest.NewVerifier(root).Verify(q, collateral, attest.Policy{ReportData: data[:]}, time.Now())
	if result == nil {
		return err
	}
	if err := showResult(command.OutOrStdout(), result); err != nil {
		return err
	}
	if result.Trusted != want {
		return fmt.Errorf("the verdict should be trusted=%t: %w", want, err)
	}
	return nil
}
