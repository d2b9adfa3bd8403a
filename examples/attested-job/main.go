// Attested-job is a confidential job as small as it can be: it gets a quote of
// itself from the node's quote helper, prints it for whoever relies on it, and
// says what can be told by the quote alone.
//
// There is no SGX where this sample is meant to run, so a software processor
// stands in for its enclave. In an application the enclave itself makes the
// report (with Gramine, Occlum, EGo, Open Enclave or the Intel SGX SDK), and
// all the rest is as here.
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
	message := pflag.String("message", "hello from a confidential job", "bind the SHA-256 of this `text` to the quote")
	trustSimulated := pflag.Bool("trust-simulated", false, "trust simulated platforms: for demonstrations only")
	pflag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *message, *trustSimulated); err != nil {
		fmt.Fprintln(os.Stderr, "attested-job:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, message string, trustSimulated bool) error {
	// Intel's library quotes out of process when this is set, to any value.
	if _, set := os.LookupEnv("SGX_AESM_ADDR"); !set {
		return errors.New("SGX_AESM_ADDR is not set: set it to \"1\" in the manifest to have quotes made by the node's quote helper")
	}

	var client aesm.Client
	start := time.Now()
	data, err := client.Quote(ctx, func(_ context.Context, qe sgx.TargetInfo) (sgx.Report, error) {
		return enclaveReport(message, qe)
	})
	if err != nil {
		return err
	}
	fmt.Printf("quote of %d bytes after %s, for the message %q\n", len(data), time.Since(start).Round(time.Millisecond), message)
	if err := pem.Encode(os.Stdout, &pem.Block{Type: "SGX QUOTE", Bytes: data}); err != nil {
		return err
	}
	return verify(data, message, trustSimulated)
}

// enclaveReport is what the enclave does: a report for the quoting enclave that
// binds the message.
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

// bind returns the report data for a message: its SHA-256 and zeros.
func bind(message string) sgx.ReportData {
	var data sgx.ReportData
	hash := sha256.Sum256([]byte(message))
	copy(data[:], hash[:])
	return data
}

// verify is the part of what a relying party does that needs nothing but the quote.
// That party is elsewhere: it knows the message, decides whom to trust, and has
// Intel's collateral, by which revoked and outdated platforms are told.
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
	result, err := attest.NewVerifier(roots...).Verify(q, nil, attest.Policy{ReportData: want[:]}, time.Now())
	if !errors.Is(err, attest.ErrIncomplete) {
		return err
	}
	fmt.Printf("signed by a platform of %q; a verifier with collateral can tell the rest:\n", result.Root)
	for _, name := range result.NotChecked {
		fmt.Println("  not checked:", name)
	}
	return nil
}
