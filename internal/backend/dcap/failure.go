package dcap

import (
	"context"
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
	"github.com/confcom/confcom/internal/quoting"
)

// failure says what an error means for a quote. Ctx is that of the request.
func (p *Backend) failure(ctx context.Context, err error) *quoting.Failure {
	code, isCode := errors.AsType[quote3.Error](err)
	_, isStart := errors.AsType[*startFailure](err)
	switch {
	case isCode:
		f := &quoting.Failure{Layer: layerOf(code), Code: code.AESM(), Err: fmt.Errorf("the quoting library says %w", err), Advice: code.Advice()}
		if check := code.Check(); check != "" {
			f.Advice += " (confcom doctor --check=" + check + ")"
		}
		return f
	case isStart:
		return &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeServiceUnavailable, Err: err,
			Advice: "look into the log for what the workers say, and run confcom doctor"}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		f := &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeBusy, Err: fmt.Errorf("no worker has come free: %w", err),
			Advice: "the workers hang or are overloaded: their metrics tell how often they were replaced, and why"}
		if errors.Is(err, context.Canceled) {
			f.Code = aesm.CodeServiceStopped
		}
		return f
	default:
		return &quoting.Failure{Layer: quoting.LayerWorker, Code: aesm.CodeBusy, Err: fmt.Errorf("every worker that was asked has failed; the last one: %w", err),
			Advice: "look into the log for how the workers have ended, and run confcom doctor --check=quote"}
	}
}

// layerOf is the layer that an error of the library comes from. Those that AESM
// has no code for are of the provider, if they are about the way to it.
func layerOf(code quote3.Error) quoting.Layer {
	if code.AESM() == aesm.CodeUnexpected {
		switch code.Check() {
		case "network", "configuration":
			return quoting.LayerProvider
		}
	}
	return quoting.LayerOf(code.AESM())
}
