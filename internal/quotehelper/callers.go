package quotehelper

import (
	"context"
	"errors"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

var errUnidentified = errors.New("caller unidentified, and the quote helper refuses such callers")

// adviceUnidentified is what to do about a caller that is refused.
const adviceUnidentified = "the process that connects must stay alive until it has the reply; the quote helper must see the processes of the node (hostPID)"

// identifiedOnly is a Handler that refuses quotes to callers that are not identified.
type identifiedOnly struct{ aesm.Handler }

func (h identifiedOnly) InitQuote(ctx context.Context, caller aesm.Caller, key aesm.KeyID) (aesm.Initialized, error) {
	if err := checkIdentified(caller); err != nil {
		return aesm.Initialized{}, err
	}
	return h.Handler.InitQuote(ctx, caller, key)
}

func (h identifiedOnly) Quote(ctx context.Context, caller aesm.Caller, key aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	if err := checkIdentified(caller); err != nil {
		return aesm.Quoted{}, err
	}
	return h.Handler.Quote(ctx, caller, key, report, challenge)
}

func checkIdentified(caller aesm.Caller) error {
	if p, ok := caller.Peer.(peer.Peer); ok && p.Identified() {
		return nil
	}
	return &quoting.Failure{Layer: quoting.LayerClient, Code: aesm.CodeServiceUnavailable, Err: errUnidentified, Advice: adviceUnidentified}
}
