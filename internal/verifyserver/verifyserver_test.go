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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// newService is one that trusts simulated platforms, and a quote of one. It counts
// how often collateral was asked for.
func newService(t *testing.T, policy attest.Policy) (s *Service, handler http.Handler, q *quote.Quote, asked *int) {
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
	asked = new(int)
	s = &Service{
		Verifier: attest.NewVerifier(root), Policy: func() attest.Policy { return policy }, Log: slog.New(slog.DiscardHandler),
		Collateral: func(context.Context, *quote.Quote) (*attest.Collateral, error) { *asked++; return collateral, nil },
	}
	return s, s.Handler(prometheus.NewRegistry()), q, asked
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
	s, h, q, asked := newService(t, attest.Policy{MREnclaves: []sgx.Measurement{{1}}})
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
	changed[48+64] ^= 1 // of MRENCLAVE
	stranger := *q
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	stranger.Signature.CertificationData = quote.NewPCKChain(chain[0], chain[2], chain[1])
	below, err := stranger.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	const bytesKind, jsonKind = "application/octet-stream", "application/json; charset=utf-8"
	for _, c := range []struct {
		name, kind string
		body       []byte
		status     int
		trusted    bool
		want       string // of the reason or the error
		asks       int
	}{
		{"bytes", bytesKind, good, 200, true, "", 1},
		{"JSON", jsonKind, inJSON(good, "c0"), 200, true, "", 1},
		{"another nonce", jsonKind, inJSON(good, "c1"), 200, false, "report data", 0},
		{"changed", bytesKind, changed, 200, false, "quote signature", 0},
		{"of nobody", bytesKind, below, 200, false, "trusted root", 0},
		{"cut off", bytesKind, good[:1000], 400, false, "data ends here", 0},
		{"no quote", jsonKind, []byte("{}"), 400, false, "data ends here", 0},
		{"no JSON", jsonKind, good, 400, false, "invalid character", 0},
		{"a long nonce", jsonKind, inJSON(good, strings.Repeat("00", 65)), 400, false, "65 bytes", 0},
		{"a flood", bytesKind, make([]byte, maxBody+1), 413, false, "that is no quote", 0},
		{"a form", "application/x-www-form-urlencoded", good, 415, false, "application/octet-stream", 0},
		{"bytes of no type", "", good, 200, true, "", 1},
		{"JSON of no type", "", inJSON(good, "c0"), 200, true, "", 1},
		{"a broken type", ";", good, 415, false, "application/octet-stream", 0},
	} {
		*asked = 0
		status, answer := post(h, c.kind, c.body)
		text, _ := answer["reason"].(string)
		if text == "" {
			text, _ = answer["error"].(string)
		}
		judged, _ := answer["trusted"].(bool)
		if status != c.status || judged != c.trusted || !strings.Contains(text, c.want) || *asked != c.asks || (answer["enclave"] != nil) != c.trusted {
			t.Errorf("%s: status %d, trusted %v, %q, collateral asked for %d times", c.name, status, judged, text, *asked)
		}
	}
	for verdict, want := range map[string]float64{trusted: 4, notTrusted: 3, badRequest: 7} {
		if n := testutil.ToFloat64(s.verdicts.WithLabelValues(verdict)); n != want {
			t.Errorf("%s: %v, want %v", verdict, n, want)
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

// The document is one, and names what the answers have.
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
			t.Errorf("%s is not in the document", name)
		}
	}
}

func TestPolicyFile(t *testing.T) {
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
		t.Error("read a policy that is not there")
	}
	write(`{"minEvaluationDataNumber": 1}`)
	var told []error
	p, err := ReadPolicy(path, slog.New(slog.DiscardHandler), func(err error) { told = append(told, err) })
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
		write(c.text)
		told = nil
		p.looked = time.Time{}
		if got := p.Policy().MinEvaluationDataNumber; got != c.want || len(told) != 1 || (told[0] != nil) != c.bad {
			t.Errorf("after %s: %d, told %v", c.text, got, told)
		}
	}
	told = nil
	p.looked = time.Time{}
	if p.Policy(); len(told) > 0 {
		t.Errorf("told of no change: %v", told)
	}
}
