package quotehelper

import (
	"errors"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

func TestIdentifiedOnly(t *testing.T) {
	served := quoting.NewService(simulatedBackend(t), 1, nil)
	h := identifiedOnly{served}
	for _, tt := range []struct {
		name   string
		caller aesm.Caller
		ok     bool
	}{
		{"known", aesm.Caller{Peer: peer.Peer{User: 1000, Process: 7}}, true},
		{"unknown", aesm.Caller{Peer: peer.Peer{}}, false},
		{"none", aesm.Caller{}, false},
	} {
		_, err := h.InitQuote(t.Context(), tt.caller, aesm.IntelQE3KeyID())
		if refused := errors.Is(err, errUnidentified); refused == tt.ok || refused && !errors.Is(err, aesm.CodeServiceUnavailable) {
			t.Errorf("%s: InitQuote: %v", tt.name, err)
		}
		_, err = h.Quote(t.Context(), tt.caller, aesm.IntelQE3KeyID(), sgx.Report{}, nil)
		if errors.Is(err, errUnidentified) == tt.ok {
			t.Errorf("%s: Quote: %v", tt.name, err)
		}
	}
}

func simulatedBackend(t *testing.T) quoting.Backend {
	t.Helper()
	backend, err := simulated.New("node")
	if err != nil {
		t.Fatal(err)
	}
	return backend
}
