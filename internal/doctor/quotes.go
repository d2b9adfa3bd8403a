package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func (d *Doctor) client() *aesm.Client { return &aesm.Client{Socket: d.Socket, Timeout: d.Timeout} }

// refused is the problem of a request to the daemon that failed, with the advice of
// the error.
func refused(err error) Check {
	seen, advice := err.Error(), ""
	if transport, ok := errors.AsType[*aesm.TransportError](err); ok {
		seen, advice = fmt.Sprintf("%s: %v", transport.Socket, transport.Err), transport.Advice()
	} else if refusal, ok := errors.AsType[*aesm.Error](err); ok {
		advice = refusal.Code.Advice()
	}
	return problem(seen, cmp.Or(advice, "look into the log of the quote helper for the cause"))
}

// socket tells whether a daemon answers.
func (d *Doctor) socket(ctx context.Context) Check {
	if _, err := d.client().SelectKeyID(ctx); err != nil {
		return refused(err)
	}
	return ok(d.Socket + " answers")
}

// quote tells whether a quote can be had. Only a simulated processor is here to make
// a report for one; for hardware, all that leads up to it has to do.
func (d *Doctor) quote(ctx context.Context) Check {
	client, key := d.client(), aesm.IntelQE3KeyID()
	ready, err := client.InitQuote(ctx, key)
	if err != nil {
		return refused(err)
	}
	size, err := client.QuoteSize(ctx, key)
	if err != nil {
		return refused(err)
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, ready.TargetInfo)
	if err != nil {
		return problem(err.Error(), "please report this")
	}
	quoted, err := client.GetQuote(ctx, key, report, size, nil)
	if errors.Is(err, aesm.CodeInvalidReport) {
		// The QE has looked at the report, and it is not of its processor.
		return ok(fmt.Sprintf("the key is ready, and quotes have %d bytes; a whole one takes an enclave's report", size))
	}
	if err != nil {
		return refused(err)
	}
	if _, err := quote.Parse(quoted.Quote); err != nil {
		return problem(err.Error(), "please report this")
	}
	return warning(fmt.Sprintf("there are SIMULATED quotes of %d bytes, which prove nothing", size), "for genuine ones, run the quote helper with --platform=dcap on SGX hardware")
}
