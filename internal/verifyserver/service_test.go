package verifyserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// newService returns a service that trusts simulated platforms, a quote of one, and the
// number of times that collateral was fetched.
func newService(t *testing.T, policy attest.Policy) (s *Service, handler http.Handler, q *quote.Quote, fetched *int) {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	issuance, err := attesttest.NewIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if q, err = issuance.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}, ReportData: sgx.ReportData{0xc0}}); err != nil {
		t.Fatal(err)
	}
	collateral, err := issuance.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	fetched = new(int)
	s = &Service{
		Verifier: attest.NewVerifier(root), Policy: func() attest.Policy { return policy }, Log: slog.New(slog.DiscardHandler),
		Collateral: func(context.Context, *quote.Quote) (*attest.Collateral, error) { *fetched++; return collateral, nil },
		Metrics:    NewMetrics(prometheus.NewRegistry()),
	}
	return s, s.Handler(), q, fetched
}

func post(h http.Handler, kind string, body []byte) (int, map[string]any) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/verify", bytes.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	h.ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		answer = map[string]any{"no JSON": w.Body.String()}
	}
	return w.Code, answer
}

func TestVerify(t *testing.T) {
	s, h, q, fetched := newService(t, attest.Policy{MREnclaves: []sgx.Measurement{{1}}})
	good, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	inJSON := func(data []byte, reportData string) []byte {
		text, err := json.Marshal(map[string]any{"quote": data, "reportData": reportData})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	changed := bytes.Clone(good)
	changed[48+64] ^= 1 // in MRENCLAVE
	untrusted := *q
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	untrusted.Signature.CertificationData = quote.NewPCKChain(chain[0], chain[2], chain[1])
	otherRoot, err := untrusted.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	const jsonUTF8 = mediaTypeJSON + "; charset=utf-8"
	for _, c := range []struct {
		name, contentType string
		body              []byte
		status            int
		trusted           bool
		want              string // part of the reason or the error
		fetches           int
	}{
		{"bytes", mediaTypeBytes, good, 200, true, "", 1},
		{"JSON", jsonUTF8, inJSON(good, "c0"), 200, true, "", 1},
		{"another nonce", jsonUTF8, inJSON(good, "c1"), 200, false, "report data", 0},
		{"changed", mediaTypeBytes, changed, 200, false, "quote signature", 0},
		{"another root", mediaTypeBytes, otherRoot, 200, false, "trusted root", 0},
		{"truncated", mediaTypeBytes, good[:1000], 400, false, "data ends here", 0},
		{"no quote", jsonUTF8, []byte("{}"), 400, false, "data ends here", 0},
		{"invalid JSON", jsonUTF8, good, 400, false, "invalid character", 0},
		{"report data too long", jsonUTF8, inJSON(good, strings.Repeat("00", 65)), 400, false, "65 bytes", 0},
		{"body too large", mediaTypeBytes, make([]byte, maxBody+1), 413, false, "not a quote", 0},
		{"unsupported type", "application/x-www-form-urlencoded", good, 415, false, "application/octet-stream", 0},
		{"bytes without a type", "", good, 200, true, "", 1},
		{"JSON without a type", "", inJSON(good, "c0"), 200, true, "", 1},
		{"malformed type", ";", good, 415, false, "application/octet-stream", 0},
	} {
		*fetched = 0
		status, answer := post(h, c.contentType, c.body)
		text, _ := answer["reason"].(string)
		if text == "" {
			text, _ = answer["error"].(string)
		}
		got, _ := answer["trusted"].(bool)
		if status != c.status || got != c.trusted || !strings.Contains(text, c.want) || *fetched != c.fetches || (answer["enclave"] != nil) != c.trusted {
			t.Errorf("%s: status %d, trusted %v, %q, collateral fetched %d times", c.name, status, got, text, *fetched)
		}
	}
	for v, want := range map[verdict]float64{trusted: 4, notTrusted: 3, incomplete: 0, badRequest: 7} {
		if n := testutil.ToFloat64(s.Metrics.requests.WithLabelValues(string(v))); n != want {
			t.Errorf("%s: %v, want %v", v, n, want)
		}
	}
}

func TestUnavailable(t *testing.T) {
	s, h, q, _ := newService(t, attest.Policy{})
	good, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	s.Collateral = func(context.Context, *quote.Quote) (*attest.Collateral, error) { return nil, errors.New("no network") }
	if status, answer := post(h, "application/octet-stream", good); status != 503 || !strings.Contains(answer["error"].(string), "no network") {
		t.Errorf("%d, %v", status, answer)
	}
	for range cap(s.busy) {
		s.busy <- struct{}{}
	}
	if status, answer := post(h, "application/octet-stream", good); status != 503 || !strings.Contains(answer["error"].(string), "too many") {
		t.Errorf("%d, %v", status, answer)
	}
}

// The OpenAPI document is valid JSON and describes all members of an answer.
func TestOpenAPI(t *testing.T) {
	_, h, q, _ := newService(t, attest.Policy{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	var document struct {
		Components struct {
			Schemas struct {
				Result struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	_, answer := post(h, "application/octet-stream", data)
	for name := range answer {
		if document.Components.Schemas.Result.Properties[name] == nil {
			t.Errorf("%s is missing in the document", name)
		}
	}
}

func TestPolicyFile(t *testing.T) { synctest.Test(t, testPolicyFile) }

func testPolicyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadPolicy(path, slog.New(slog.DiscardHandler), nil); err == nil {
		t.Error("no error for a missing file")
	}
	write(`{"minEvaluationDataNumber": 1}`)
	var changes []error
	p, err := ReadPolicy(path, slog.New(slog.DiscardHandler), func(err error) { changes = append(changes, err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want int
		bad  bool
	}{
		{`{"minEvaluationDataNumber": 2}`, 2, false},
		{`{"minEvaluationDataNumber": `, 2, true},
		{`{"minEvaluationDataNumber": 3}`, 3, false},
	} {
		before := p.Policy().MinEvaluationDataNumber
		write(c.text)
		changes = nil
		if got := p.Policy().MinEvaluationDataNumber; got != before || len(changes) > 0 {
			t.Errorf("polled twice within %s: %d, changes %v", pollInterval, got, changes)
		}
		time.Sleep(pollInterval)
		if got := p.Policy().MinEvaluationDataNumber; got != c.want || len(changes) != 1 || (changes[0] != nil) != c.bad {
			t.Errorf("after %s: %d, changes %v", c.text, got, changes)
		}
	}
	changes = nil
	time.Sleep(pollInterval)
	if p.Policy(); len(changes) > 0 {
		t.Errorf("unchanged file: changes %v", changes)
	}
}
