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

// refused returns the problem of a failed request to the quote helper, with the advice of
// the error.
func refused(err error) Check {
	seen, advice := err.Error(), ""
	if transport, ok := errors.AsType[*aesm.TransportError](err); ok {
		seen, advice = fmt.Sprintf("%s: %v", transport.Socket, transport.Err), transport.Advice()
	} else if refusal, ok := errors.AsType[*aesm.Error](err); ok {
		advice = refusal.Code.Advice()
	}
	return problem(seen, cmp.Or(advice, "see the quote helper's log for the cause"))
}

// socket checks that a daemon answers on the socket.
func (d *Doctor) socket(ctx context.Context) Check {
	if _, err := d.client().SelectKeyID(ctx); err != nil {
		return refused(err)
	}
	return ok(d.Socket + " answers")
}

// quote checks that a quote can be obtained. It can only make reports of a simulated
// processor; on hardware, it checks everything that precedes a quote.
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
		return problem(err.Error(), "please report this bug")
	}
	quoted, err := client.GetQuote(ctx, key, report, size, nil)
	seen := fmt.Sprintf("the attestation key is ready, and quotes have %d bytes; only an enclave can request a complete one", size)
	switch {
	case errors.Is(err, aesm.CodeInvalidReport):
		return ok(seen) // the quoting enclave has checked the report: it is not from this processor
	case errors.Is(err, aesm.CodeAttKeyNotInitialized):
		// The key has just been initialized. So this is the quote helper's answer to an
		// invalid report on such a node.
		return ok(fmt.Sprintf("%s. The answer to an invalid report is %v: the node has had another quoting enclave since it booted. "+
			"Applications that still have its target info must repeat InitQuoteEx", seen, aesm.CodeAttKeyNotInitialized))
	}
	if err != nil {
		return refused(err)
	}
	if _, err := quote.Parse(quoted.Quote); err != nil {
		return problem(err.Error(), "please report this bug")
	}
	return warning(fmt.Sprintf("SIMULATED quotes of %d bytes, which prove nothing", size), "for genuine quotes, run the quote helper with --platform=dcap on SGX hardware")
}
