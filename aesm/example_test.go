package aesm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

func ExampleClient_Quote() {
	// The enclave makes the report, with EREPORT for target and with what it wants to
	// attest in the report data.
	makeReport := func(ctx context.Context, target sgx.TargetInfo) (sgx.Report, error) {
		return enterEnclave(target)
	}

	var client aesm.Client // of the daemon on this node
	quote, err := client.Quote(context.Background(), makeReport)
	switch {
	case errors.Is(err, aesm.CodeBusy):
		log.Print("try again in a second")
	case err != nil:
		log.Fatal(err) // the error says what happened, where, and what to do
	}
	fmt.Printf("a quote of %d bytes\n", len(quote))
}

// A quote with a challenge: the quoting enclave's own report shows that it ran on the
// same processor.
func ExampleFitQuote() {
	var client aesm.Client
	ctx, key := context.Background(), aesm.IntelQE3KeyID()
	ready, err := client.InitQuote(ctx, key)
	if err != nil {
		log.Fatal(err)
	}
	report, err := enterEnclave(ready.TargetInfo)
	if err != nil {
		log.Fatal(err)
	}
	// The application's enclave verifies the quoting enclave's report; the nonce must be
	// random.
	challenge := &aesm.Challenge{Target: sgx.TargetInfo{MREnclave: report.Body.MREnclave, Attributes: report.Body.Attributes}}
	quoted, err := aesm.FitQuote(
		func(int) (int, error) { return client.QuoteSize(ctx, key) },
		func(size int) (aesm.Quoted, error) { return client.GetQuote(ctx, key, report, size, challenge) })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("a quote of %d bytes, and the quoting enclave's report with MAC %x\n", len(quoted.Quote), quoted.QEReport.MAC)
}

func ExampleCode() {
	err := fmt.Errorf("quote: %w", aesm.CodeBusy) // as a Handler returns it
	code, _ := errors.AsType[aesm.Code](err)
	fmt.Println(uint32(code), code.String())
	fmt.Println(code.Advice())
	// Output:
	// 18 BUSY
	// the daemon is overloaded: try again in a second
}

func ExampleServer() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	listener, err := aesm.Listen(aesm.DefaultSocket)
	if err != nil {
		log.Fatal(err)
	}
	server := aesm.Server{
		Handler: noKeys{},
		Observe: func(ctx context.Context, e aesm.Exchange) {
			if e.Drop != aesm.DropProbe {
				log.Print(e.Kind, e.Code, e.Drop, e.Err, e.Duration)
			}
		},
	}
	if err := server.Serve(ctx, listener); err != nil {
		log.Fatal(err)
	}
}

// noKeys is a Handler that cannot quote.
type noKeys struct{}

func (noKeys) KeyIDs(context.Context) ([]aesm.KeyID, error) { return nil, nil }

func (noKeys) InitQuote(context.Context, aesm.Caller, aesm.KeyID) (aesm.Initialized, error) {
	return aesm.Initialized{}, aesm.CodeUnsupportedAttKeyID
}

func (noKeys) QuoteSize(context.Context, aesm.KeyID) (int, error) {
	return 0, aesm.CodeUnsupportedAttKeyID
}

func (noKeys) Quote(context.Context, aesm.Caller, aesm.KeyID, sgx.Report, *aesm.Challenge) (aesm.Quoted, error) {
	return aesm.Quoted{}, aesm.CodeUnsupportedAttKeyID
}

func enterEnclave(sgx.TargetInfo) (sgx.Report, error) { return sgx.Report{}, nil }
