package verifyserver

import (
	"net/http"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// A quote of a trust domain, also in a larger buffer, is verified with collateral for it, and by the
// policy's part for trust domains.
func TestTrustDomain(t *testing.T) {
	s, handler, _, from := newService(t, attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: []tdx.Measurement{{1}}}})
	issuer, err := attesttest.NewTDXIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	td := attesttest.TrustDomain()
	td.MRTD = tdx.Measurement{1}
	q, err := issuer.QuoteTD(td)
	if err != nil {
		t.Fatal(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if from.collateral, err = issuer.Collateral(); err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{data, append(data[:len(data):len(data)], make([]byte, 100)...)} {
		status, answer := post(handler, "application/octet-stream", body)
		if body, _ := answer["trustDomain"].(map[string]any); status != http.StatusOK || answer["trusted"] != true || body["mrTD"] != td.MRTD.String() || answer["enclave"] != nil {
			t.Errorf("status %d, %v", status, answer)
		}
	}
	if status, _ := post(handler, "application/octet-stream", append(data[:len(data):len(data)], 1)); status != http.StatusBadRequest {
		t.Errorf("followed by a byte: status %d", status)
	}
	s.Policy = func() attest.Policy { return attest.Policy{MRSigners: []sgx.Measurement{{}}} }
	if status, answer := post(handler, "application/octet-stream", data); status != http.StatusOK || answer["trusted"] != false || answer["trustDomain"] != nil {
		t.Errorf("with a policy for enclaves: status %d, %v", status, answer)
	}
}
