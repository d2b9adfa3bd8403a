package verifyserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/sgx"
)

func encodeJSON(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A quote is read in any form, as a body of bytes and in a request. The answer names the form,
// what was attached, whether the report data has its hash, and what was not checked.
func TestForms(t *testing.T) {
	_, h, _, from := newService(t, attest.Policy{AnyEnclave: true})
	from.keeps = true
	issuer, err := attesttest.NewIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	held := []byte("what the enclave holds")
	body := sgx.ReportBody{}
	hash := sha256.Sum256(held)
	copy(body.ReportData[:], hash[:])
	q, err := issuer.Quote(body)
	if err != nil {
		t.Fatal(err)
	}
	if from.collateral, err = issuer.Collateral(); err != nil {
		t.Fatal(err)
	}
	data := marshal(t, q)
	b64 := base64.StdEncoding.EncodeToString
	azure := func(held []byte) []byte {
		return encodeJSON(t, map[string]any{"quote": b64(data), "runtimeData": map[string]string{"data": b64(held), "dataType": "Binary"}})
	}
	attached := func(held []byte, inReportData bool) evidence.Summary {
		hash := sha256.Sum256(held)
		return evidence.Summary{
			Forms: []evidence.Form{evidence.FormAzure, evidence.FormBase64, evidence.FormQuote},
			Attachments: []evidence.AttachmentSummary{{
				Kind: evidence.RuntimeData, Type: "Binary", Size: len(held), SHA256: hash[:], InReportData: inReportData,
			}},
		}
	}
	const notBound = "whether the runtime data belongs to the quote"
	for _, c := range []struct {
		name       string
		body       []byte
		want       evidence.Summary
		notChecked bool // whether notBound is listed
	}{
		{"quote", data, evidence.Summary{Forms: []evidence.Form{evidence.FormQuote}}, false},
		{"padded", append(bytes.Clone(data), 0, 0, 0), evidence.Summary{Forms: []evidence.Form{evidence.FormQuote}, Padding: 3}, false},
		{"hexadecimal", []byte(hex.EncodeToString(data)), evidence.Summary{Forms: []evidence.Form{evidence.FormHex, evidence.FormQuote}}, false},
		{"PEM", append([]byte("a log\n"), pem.EncodeToMemory(&pem.Block{Type: evidence.PEMType, Bytes: data})...),
			evidence.Summary{Forms: []evidence.Form{evidence.FormPEM, evidence.FormQuote}}, false},
		{"Azure Attestation", azure(held), attached(held, true), false},
		{"Azure Attestation, other runtime data", azure([]byte("something else")), attached([]byte("something else"), false), true},
	} {
		for _, r := range []struct {
			mediaType string
			body      []byte
		}{
			{mediaTypeBytes, c.body},
			{mediaTypeJSON, encodeJSON(t, map[string]any{"quote": c.body, "reportData": hex.EncodeToString(hash[:])})},
		} {
			status, answer := post(h, r.mediaType, r.body)
			if status != http.StatusOK || answer["trusted"] != true {
				t.Errorf("%s as %s: status %d, %v, %v", c.name, r.mediaType, status, answer["error"], answer["reason"])
				continue
			}
			var got evidence.Summary
			if err := json.Unmarshal(encodeJSON(t, answer["evidence"]), &got); err != nil || !cmp.Equal(got, c.want) {
				t.Errorf("%s as %s: %v\n%s", c.name, r.mediaType, err, cmp.Diff(c.want, got))
			}
			if listed := strings.Contains(string(encodeJSON(t, answer["notChecked"])), notBound); listed != c.notChecked {
				t.Errorf("%s as %s: not checked: %v", c.name, r.mediaType, answer["notChecked"])
			}
		}
	}
}

// Report data in evidence is no requirement: evidence that is JSON is refused as a request,
// and a request is refused as evidence.
func TestRequestIsNoEvidence(t *testing.T) {
	_, h, q, _ := newService(t, attest.Policy{AnyEnclave: true})
	data := marshal(t, q)
	for _, c := range []struct {
		name, mediaType string
		body            []byte
		want            string
	}{
		{"evidence as a request", mediaTypeJSON, encodeJSON(t, map[string]any{"quote": data, "runtimeData": map[string]string{}}), `unknown member "runtimeData": send evidence`},
		{"evidence without a type", "", encodeJSON(t, map[string]any{"quote": data, "report_data": "c0", "event_log": "[]"}), `unknown member`},
		{"a request as bytes", mediaTypeBytes, encodeJSON(t, map[string]any{"quote": data, "reportData": "c1"}), `unknown member "reportData"`},
	} {
		if status, answer := post(h, c.mediaType, c.body); status != http.StatusBadRequest || !strings.Contains(answer["error"].(string), c.want) {
			t.Errorf("%s: status %d, %v", c.name, status, answer)
		}
	}
}

// Bodies that are large are bounded in number. Others are read all the same.
func TestLargeBodies(t *testing.T) {
	s, h, q, _ := newService(t, attest.Policy{AnyEnclave: true})
	data := marshal(t, q)
	large := append(bytes.Clone(data), make([]byte, maxLargeBody-len(data))...)
	trusted := func(name string, body []byte) {
		t.Helper()
		if status, answer := post(h, mediaTypeBytes, body); status != http.StatusOK || answer["trusted"] != true {
			t.Errorf("%s: status %d, %v", name, status, answer["error"])
		}
	}
	for range maxLargeEach + 1 { // each gives its share back
		trusted("large", large)
	}
	for range maxLargeEach + 1 {
		if status, _ := post(h, mediaTypeBytes, make([]byte, maxBody+1)); status != http.StatusBadRequest {
			t.Fatalf("zeros: status %d", status)
		}
		if status, _ := post(h, "text/plain", make([]byte, maxBody+1)); status != http.StatusUnsupportedMediaType {
			t.Fatalf("an unsupported type: status %d", status)
		}
	}
	for n := range maxLarge {
		if _, ok := s.large.take(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})); !ok {
			t.Fatalf("share %d is not free", n)
		}
	}
	if status, answer := post(h, mediaTypeBytes, large); status != http.StatusServiceUnavailable || !strings.Contains(answer["error"].(string), "too many requests of more than") {
		t.Errorf("one more: status %d, %v", status, answer)
	}
	trusted("small", append(bytes.Clone(data), make([]byte, maxBody-len(data))...))

	w := httptest.NewRecorder()
	chunked := httptest.NewRequest(http.MethodPost, "/v1/verify", io.MultiReader(bytes.NewReader(large))) // of unknown length
	chunked.Header.Set("Content-Type", mediaTypeBytes)
	h.ServeHTTP(w, chunked)
	if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "send Content-Length") {
		t.Errorf("chunked: status %d, %s", w.Code, w.Body)
	}
}
