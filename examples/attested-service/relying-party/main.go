// Relying-party gives a secret to the sample attested-service, but only to an enclave of the
// given signer. It runs on a machine that its owner trusts: a laptop, another cluster, or a
// service that keeps secrets.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func main() {
	service := pflag.String("service", "http://attested-service:8080", "the `URL` of the service")
	signer := pflag.String("mrsigner", "", "the MRSIGNER of the service's enclave: 64 `hex` digits")
	statuses := pflag.StringSlice("accept-status", nil, "also accept platforms with this TCB `status`, such as SWHardeningNeeded")
	simulated := pflag.Bool("trust-simulated", false, "trust simulated platforms and no others; only for demonstrations")
	secret := pflag.String("secret-file", "", "give the service the content of this `file`")
	timeout := pflag.Duration("timeout", time.Minute, "give up after this `time`")
	pflag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := run(ctx, *service, *signer, *statuses, *secret, *simulated); err != nil {
		fmt.Fprintln(os.Stderr, "relying-party:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, service, signer string, statuses []string, file string, simulated bool) error {
	if signer == "" {
		return errors.New("--mrsigner: missing: the build of the service's image prints it")
	}
	if file == "" {
		return errors.New("--secret-file: missing: it has the secret for the service")
	}
	var wanted sgx.Measurement
	if err := wanted.UnmarshalText([]byte(signer)); err != nil {
		return fmt.Errorf("--mrsigner: %w", err)
	}
	policy := attest.Policy{MRSigners: []sgx.Measurement{wanted}}
	for _, text := range statuses {
		var status attest.TCBStatus
		if err := status.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("--accept-status: %w", err)
		}
		policy.Statuses = append(policy.Statuses, status)
	}
	secret, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--secret-file: %w", err)
	}
	verifier, closeVerifier, err := newVerifier(simulated)
	if err != nil {
		return err
	}
	defer closeVerifier()

	party := &relyingParty{service, http.DefaultClient, verifier, policy}
	result, err := party.give(ctx, secret)
	if result != nil {
		fmt.Printf("the enclave: MRENCLAVE %s, MRSIGNER %s\n", result.Quote.Enclave.MREnclave, result.Quote.Enclave.MRSigner)
		if result.Status != "" {
			fmt.Printf("its platform: %s, under the root %q\n", result.Status, result.Root)
		}
	}
	if err != nil {
		return fmt.Errorf("the service did not get the secret: %w", err)
	}
	fmt.Printf("the service got the secret of %d bytes, and only its enclave can read it\n", len(secret))
	return nil
}

// newVerifier returns a verifier, which gets collateral from Intel, and a function that ends
// it.
func newVerifier(simulated bool) (*verify.Verifier, func(), error) {
	if !simulated {
		client := &pcs.Client{Service: pcs.Intel()}
		return &verify.Verifier{Source: client}, client.Close, nil
	}
	// Anyone can make quotes under this root, and its collateral.
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		return nil, nil, err
	}
	collateral, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		return nil, nil, err
	}
	return &verify.Verifier{Roots: []attest.Root{root}, Source: collateral}, func() {}, nil
}
