package dcap

import (
	"context"
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/pool"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/quoting"
)

// failure returns what an error means for a request. ctx is that of the request.
func (b *Backend) failure(ctx context.Context, err error) *quoting.Failure {
	code, isCode := errors.AsType[quote3.Error](err)
	_, isStart := errors.AsType[*pool.StartError](err)
	switch {
	case isCode:
		if !isStart {
			err = fmt.Errorf("quoting library: %w", err)
		}
		f := &quoting.Failure{Layer: layerOf(code), Code: code.AESM(), Err: err, Advice: code.Advice()}
		if check := code.Check(); check != "" {
			f.Advice += " (confcom doctor --check=" + check + ")"
		}
		return f
	case isStart:
		return &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeServiceUnavailable, Err: err,
			Advice: "read the workers' lines in the log and run confcom doctor"}
	case errors.Is(err, pool.ErrClosed):
		return &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeServiceStopped, Err: err}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		f := &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeBusy, Err: fmt.Errorf("wait for a worker: %w", err),
			Advice: "the workers hang or are overloaded: see sgx_quote_helper_worker_ends_total for how often they were replaced, and why"}
		if errors.Is(err, context.Canceled) {
			f.Code = aesm.CodeServiceStopped
		}
		return f
	case errors.Is(err, link.ErrNoReply):
		return &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeBusy, Err: fmt.Errorf("the workers that were asked have died: %w", err),
			Advice: "read in the log how the workers ended"}
	default:
		return &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeBusy, Err: fmt.Errorf("all workers that were asked have failed; last error: %w", err),
			Advice: "read in the log how the workers ended, and run confcom doctor --check=quote"}
	}
}

// layerOf returns the layer that an error of the library comes from. Several that
// AESM has one code for differ in what must be examined.
func layerOf(code quote3.Error) quoting.Layer {
	if code.Check() == "configuration" {
		return quoting.LayerProvider
	}
	return quoting.LayerOf(code.AESM())
}
