package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func (d *Doctor) client() *aesm.Client { return &aesm.Client{Socket: d.Socket, Timeout: d.Timeout} }

// socket tells whether a daemon answers.
func (d *Doctor) socket(ctx context.Context) Check {
	if _, err := d.client().SelectKeyID(ctx); err != nil {
		return problem(err.Error(), "look whether the quote helper runs, and into its log")
	}
	return ok(d.Socket + " answers")
}

// quote tells whether a quote can be had. Only a simulated processor is here to make
// a report for one; for hardware, all that leads up to it has to do.
func (d *Doctor) quote(ctx context.Context) Check {
	client, key := d.client(), aesm.IntelQE3KeyID()
	ready, err := client.InitQuote(ctx, key)
	if err != nil {
		return problem(err.Error(), "look into the log of the quote helper for the cause")
	}
	size, err := client.QuoteSize(ctx, key)
	if err != nil {
		return problem(err.Error(), "look into the log of the quote helper for the cause")
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
		return problem(err.Error(), "look into the log of the quote helper for the cause")
	}
	if _, err := quote.Parse(quoted.Quote); err != nil {
		return problem(err.Error(), "please report this")
	}
	return warning(fmt.Sprintf("there are SIMULATED quotes of %d bytes, which prove nothing", size), "for genuine ones, run the quote helper with --platform=dcap on SGX hardware")
}
