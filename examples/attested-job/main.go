// Attested-job is a minimal confidential job: it gets a quote of itself from the node's
// quote helper, prints the quote for the relying party, and verifies as much of it as is
// possible without collateral.
//
// This sample also runs on machines without SGX, so a processor in software takes the
// place of its enclave. In a real application the enclave makes the report (with Gramine,
// Occlum, EGo, Open Enclave or the Intel SGX SDK); everything else is the same.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func main() {
	message := pflag.String("message", "hello from a confidential job", "bind the quote to the SHA-256 of this `text`")
	trustSimulated := pflag.Bool("trust-simulated", false, "trust simulated platforms; only for demonstrations")
	pflag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *message, *trustSimulated); err != nil {
		fmt.Fprintln(os.Stderr, "attested-job:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, message string, trustSimulated bool) error {
	// Intel's library gets quotes out of process if this is set, to any value.
	if _, set := os.LookupEnv("SGX_AESM_ADDR"); !set {
		return errors.New("SGX_AESM_ADDR is not set: set it to \"1\" in the manifest to get quotes from the node's quote helper")
	}

	var client aesm.Client
	start := time.Now()
	data, err := client.Quote(ctx, func(_ context.Context, qe sgx.TargetInfo) (sgx.Report, error) {
		return enclaveReport(message, qe)
	})
	if err != nil {
		return err
	}
	fmt.Printf("got a quote of %d bytes in %s, bound to the message %q\n", len(data), time.Since(start).Round(time.Millisecond), message)
	if err := pem.Encode(os.Stdout, &pem.Block{Type: "SGX QUOTE", Bytes: data}); err != nil {
		return err
	}
	return verify(data, message, trustSimulated)
}

// enclaveReport returns what an enclave would make: a report for the quoting enclave
// (QE) qe that is bound to the message.
func enclaveReport(message string, qe sgx.TargetInfo) (sgx.Report, error) {
	body := sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte("SIMULATED: attested-job")),
		MRSigner:   sha256.Sum256([]byte("SIMULATED: signer of attested-job")),
		ISVProdID:  1,
		ISVSVN:     1,
		ReportData: bind(message),
	}
	return simulation.DefaultCPU().Report(body, qe)
}

// bind returns the report data for a message: its SHA-256, padded with zeros.
func bind(message string) sgx.ReportData {
	var data sgx.ReportData
	hash := sha256.Sum256([]byte(message))
	copy(data[:], hash[:])
	return data
}

// verify checks what can be checked with nothing but the quote. The relying party, on
// another machine, does more: it knows which message and which root to expect, and has
// Intel's collateral, which lists revoked and outdated platforms.
func verify(data []byte, message string, trustSimulated bool) error {
	q, err := quote.Parse(data)
	if err != nil {
		return err
	}
	roots := []attest.Root{attest.IntelRoot()}
	if trustSimulated {
		root, err := attest.ParseRoot(simulation.RootPEM())
		if err != nil {
			return err
		}
		roots = append(roots, root)
	}
	want := bind(message)
	result, err := attest.NewVerifier(roots...).Verify(q, nil, attest.Policy{AnyEnclave: true, ReportData: want[:]}, time.Now())
	if !errors.Is(err, attest.ErrIncomplete) {
		return err
	}
	fmt.Printf("verified up to the root %q; not checked here:\n", result.Root)
	for _, name := range result.NotChecked {
		fmt.Printf("  %s\n", name)
	}
	return nil
}
