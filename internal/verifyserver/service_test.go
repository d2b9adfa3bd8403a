package verifyserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// source is a source of collateral. If keeps is not set, it keeps none.
type source struct {
	collateral *attest.Collateral
	keeps      bool
	err        error
	fetched    int
}

func (s *source) Kept(attest.Family) *attest.Collateral {
	if s.keeps {
		return s.collateral
	}
	return nil
}

func (s *source) Fetch(context.Context, netip.Addr, attest.Family, *attest.Collateral) (*attest.Collateral, error) {
	s.fetched++
	return s.collateral, s.err
}

func (s *source) Certificates(ctx context.Context, _ netip.Addr, q *quote.Quote, own verify.Certificates) ([]*x509.Certificate, error) {
	return own.CertificatesFor(ctx, q)
}

// newService returns a service that trusts simulated platforms, a quote of one, and the
// source of its collateral.
func newService(t testing.TB, policy attest.Policy) (s *Service, handler http.Handler, q *quote.Quote, from *source) {
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
	issuer, err := challenge.NewIssuer(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	from = new(source)
	if from.collateral, err = issuance.Collateral(); err != nil {
		t.Fatal(err)
	}
	s = &Service{
		Verifier: attest.NewVerifier(root), Policy: func() Policy { return Policy{policy, "sha256:0123"} }, Log: slog.New(slog.DiscardHandler),
		Collateral: from,
		Challenges: func() *challenge.Issuer { return issuer },
		Metrics:    NewMetrics(prometheus.NewRegistry()),
	}
	return s, s.Handler(), q, from
}

// inBubble runs a test with a fake clock, at a time at which certificates are valid.
func inBubble(t *testing.T, test func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)))
		test(t)
	})
}

func marshal(t testing.TB, q *quote.Quote) []byte {
	t.Helper()
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
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
	s, h, q, from := newService(t, attest.Policy{MREnclaves: []sgx.Measurement{{1}}})
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
	untrusted.Signature.CertificationData = quote.NewPCKChain(chain[0], chain[1], chain[1])
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
		{"no quote", jsonUTF8, []byte("{}"), 400, false, "quote: missing", 0},
		{"empty", mediaTypeBytes, nil, 400, false, "no body", 0},
		{"something else", mediaTypeBytes, []byte("<html></html>"), 400, false, "this looks like an HTML page", 0},
		{"invalid JSON", jsonUTF8, good, 400, false, "not UTF-8", 0},
		{"report data too long", jsonUTF8, inJSON(good, strings.Repeat("00", 65)), 400, false, "65 bytes", 0},
		{"body too large", mediaTypeBytes, make([]byte, maxLargeBody+1), 413, false, "send only the quote", 0},
		{"unsupported type", "application/x-www-form-urlencoded", good, 415, false, "application/octet-stream", 0},
		{"bytes without a type", "", good, 200, true, "", 1},
		{"JSON without a type", "", inJSON(good, "c0"), 200, true, "", 1},
		{"malformed type", ";", good, 415, false, "application/octet-stream", 0},
	} {
		from.fetched = 0
		status, answer := post(h, c.contentType, c.body)
		text, _ := answer["reason"].(string)
		if text == "" {
			text, _ = answer["error"].(string)
		}
		got, _ := answer["trusted"].(bool)
		if status != c.status || got != c.trusted || !strings.Contains(text, c.want) || from.fetched != c.fetches || (answer["enclave"] != nil) != c.trusted {
			t.Errorf("%s: status %d, trusted %v, %q, collateral fetched %d times", c.name, status, got, text, from.fetched)
		}
	}
	for v, want := range map[verdict]float64{trusted: 4, notTrusted: 3, incomplete: 0, badRequest: 9} {
		if n := testutil.ToFloat64(s.Metrics.requests.WithLabelValues(string(v))); n != want {
			t.Errorf("%s: %v, want %v", v, n, want)
		}
	}
}

// A request that may be understood in another way than it is meant is an error that names
// the member.
func TestStrictRequests(t *testing.T) {
	_, h, q, from := newService(t, attest.Policy{AnyEnclave: true})
	from.keeps = true
	encoded := `"quote": "` + base64.StdEncoding.EncodeToString(marshal(t, q)) + `"`
	for text, want := range map[string]string{
		`{` + encoded + `, "report_data": "00ff"}`:                     `unknown member "report_data": did you mean "reportData"?`,
		`{` + encoded + `, "verifier_nonce": "00ff"}`:                  `unknown member "verifier_nonce": send evidence that is a JSON object itself as application/octet-stream`,
		`{` + encoded + `, "nonce": "00ff"}`:                           "nonce: the nonce has 3 bytes",
		`{` + encoded + `, "nonce": ""}`:                               "nonce: the nonce has 0 bytes",
		`{` + encoded + `, "nonce": "AAAAAAAAAAA="}`:                   "nonce: the nonce is not base64url without padding",
		`{` + encoded + `, "nonce": "AAAAAAAAAA\nA"}`:                  "nonce: the nonce is not base64url without padding",
		`{` + encoded + `, "nonce": "AAAAAAAAAAB"}`:                    "nonce: the nonce is not base64url without padding", // bits that are lost
		`{` + encoded + `, "nonce": "AAAAAAAAAAA"}`:                    "the nonce was not issued here",
		`{` + encoded + `, "data": "AAAA"}`:                            "data: there is no nonce",
		`{` + encoded + `, "data": ""}`:                                "data: there is no nonce",
		`{` + encoded + `, "nonce": "AAAAAAAAAAA", "reportData":"c0"}`: "reportData and nonce: send one of them",
		`{` + encoded + `, "reportdata": "00ff"}`:                      `unknown member "reportdata"`,
		`{` + encoded + `, "reportData": null}`:                        "reportData: null",
		`{` + encoded + `, "reportData": ""}`:                          "reportData: empty",
		`{` + encoded + `, "reportData": "0"}`:                         "reportData: ",
		`{` + encoded + `, "reportData": "00ff", "reportData": "c0"}`:  `duplicate member "reportData"`,
		`{` + encoded + `, "reportData": "00ff", "ReportData": "c0"}`:  `unknown member "ReportData"`,
		`{` + encoded + `, ` + encoded + `}`:                           `duplicate member "quote"`,
		`{"quote": null}`:                                              "quote: null",
		`{"quote": ""}`:                                                "quote: missing",
		`{"quote": 1}`:                                                 "quote: ",
		`{"quote": [3, 0, 2, 0]}`:                                      "quote: want a string in base64",
		`{` + encoded + `, "reportData": [0, 255]}`:                    "reportData: ",
		`{` + encoded + `} {}`:                                         "after top-level value",
		`null`:                                                         "want a JSON object",
		`[]`:                                                           "want a JSON object",
	} {
		status, answer := post(h, mediaTypeJSON, []byte(text))
		if got, _ := answer["error"].(string); status != 400 || !strings.Contains(got, want) {
			t.Errorf("%.20s...%s: %d, %v; want %q", text, text[max(len(text)-60, 0):], status, answer, want)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/verify?reportData=00ff", bytes.NewReader(marshal(t, q))))
	if w.Code != 400 || !strings.Contains(w.Body.String(), "reportData=00ff") {
		t.Errorf("%d, %s", w.Code, w.Body)
	}
}

// The report data of the policy and of the request are both required.
func TestReportData(t *testing.T) {
	for _, c := range []struct {
		policy, request string // the quote's is c0, followed by zeros
		trusted         bool
		want            string
	}{
		{"", "", true, ""},
		{"c0", "", true, ""},
		{"", "c0", true, ""},
		{"c0", "c000", true, ""},
		{"c1", "", false, "report data"},
		{"", "c1", false, "report data"},
		{"c1", "c0", false, "report data"},
		{"c0", "c1", false, "the request requires c1"},
		{"c1", "c1", false, "report data"},
	} {
		policy := attest.Policy{AnyEnclave: true}
		if c.policy != "" {
			if err := policy.ReportData.UnmarshalText([]byte(c.policy)); err != nil {
				t.Fatal(err)
			}
		}
		for _, keeps := range []bool{false, true} {
			_, h, q, from := newService(t, policy)
			from.keeps = keeps
			body := map[string]any{"quote": marshal(t, q)}
			if c.request != "" {
				body["reportData"] = c.request
			}
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			status, answer := post(h, mediaTypeJSON, text)
			reason, _ := answer["reason"].(string)
			if status != 200 || answer["trusted"] != c.trusted || !strings.Contains(reason, c.want) || !c.trusted && answer["enclave"] != nil {
				t.Errorf("policy %q, request %q: %d, %v", c.policy, c.request, status, answer)
			}
		}
	}
}

func TestUnavailable(t *testing.T) { inBubble(t, testUnavailable) }

func testUnavailable(t *testing.T) {
	s, h, q, from := newService(t, attest.Policy{AnyEnclave: true})
	from.err = errors.New("no network")
	if status, answer := post(h, "application/octet-stream", marshal(t, q)); status != 503 || !strings.Contains(answer["error"].(string), "no network") {
		t.Errorf("%d, %v", status, answer)
	}
	for range cap(s.working) {
		s.working <- struct{}{}
	}
	start := time.Now()
	if status, answer := post(h, "application/octet-stream", marshal(t, q)); status != 503 || !strings.Contains(answer["error"].(string), "too many") || time.Since(start) != turnTimeout {
		t.Errorf("%d, %v after %s", status, answer, time.Since(start))
	}
}

// Collateral at hand is used without a fetch, unless it cannot be used.
func TestKeptCollateral(t *testing.T) {
	s, h, q, from := newService(t, attest.Policy{AnyEnclave: true, MaxCollateralAge: 1})
	from.keeps = true
	status, answer := post(h, mediaTypeBytes, marshal(t, q))
	reason, _ := answer["reason"].(string)
	if status != 200 || answer["trusted"] != false || !strings.Contains(reason, "the collateral cannot be used: collateral age") || from.fetched != 1 {
		t.Errorf("collateral that is too old: %d, %v, fetched %d times", status, answer, from.fetched)
	}
	if n := testutil.ToFloat64(s.Metrics.requests.WithLabelValues(string(badCollateral))); n != 1 {
		t.Errorf("bad collateral: %v", n)
	}
	from.fetched = 0
	q.Enclave.ISVSVN++
	if status, answer := post(h, mediaTypeBytes, marshal(t, q)); status != 200 || answer["trusted"] != false || from.fetched != 0 {
		t.Errorf("and a quote that is not genuine: %d, %v, fetched %d times", status, answer, from.fetched)
	}
	q.Enclave.ISVSVN--
	s.Policy = func() Policy {
		return Policy{Policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}, MaxCollateralAge: 1}}
	}
	if status, answer := post(h, mediaTypeBytes, marshal(t, q)); status != 200 || answer["trusted"] != false || from.fetched != 0 {
		t.Errorf("and an enclave that is not accepted: %d, %v, fetched %d times", status, answer, from.fetched)
	}
	s.Policy = func() Policy { return Policy{Policy: attest.Policy{AnyEnclave: true}} }
	if status, answer := post(h, mediaTypeBytes, marshal(t, q)); status != 200 || answer["trusted"] != true || from.fetched != 0 {
		t.Errorf("good collateral: %d, %v, fetched %d times", status, answer, from.fetched)
	}
}

// Collateral at hand that cannot be used is verified with once, however often the source copies
// it, and replaced by newer collateral if the source has that.
func TestRenewedCollateral(t *testing.T) {
	old := time.Now().Add(-20 * 24 * time.Hour)
	oldCollateral, err := attesttest.NewCollateral(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		renews     bool
		err        error
		trusted    bool
		appraisals int
	}{
		{"a copy", false, nil, false, 1},
		{"newer", true, nil, true, 2},
		{"no answer", false, errors.New("no network"), false, 1},
	} {
		s, h, q, from := newService(t, attest.Policy{AnyEnclave: true, MaxCollateralAge: 10 * 24 * time.Hour})
		kept := &renewing{old: oldCollateral, err: c.err}
		if c.renews {
			kept.renewed = from.collateral
		}
		s.Collateral = kept
		appraisals, policy := 0, s.Policy
		s.Policy = func() Policy { appraisals++; return policy() }
		status, answer := post(h, mediaTypeBytes, marshal(t, q))
		reason, _ := answer["reason"].(string)
		if status != 200 || answer["trusted"] != c.trusted || !c.trusted && !strings.Contains(reason, "collateral age") || appraisals != c.appraisals {
			t.Errorf("%s: %d, trusted %v, %q, verified %d times, want %d", c.name, status, answer["trusted"], reason, appraisals, c.appraisals)
		}
	}
}

// renewing is a source that returns copies of old collateral, and newer one if it is asked for
// that.
type renewing struct {
	old, renewed *attest.Collateral
	err          error
}

func (r *renewing) Kept(attest.Family) *attest.Collateral {
	c := *r.old
	return &c
}

func (r *renewing) Fetch(_ context.Context, _ netip.Addr, family attest.Family, _ *attest.Collateral) (*attest.Collateral, error) {
	if r.renewed != nil {
		return r.renewed, r.err
	}
	return r.Kept(family), r.err
}

func (r *renewing) Certificates(ctx context.Context, _ netip.Addr, q *quote.Quote, own verify.Certificates) ([]*x509.Certificate, error) {
	return own.CertificatesFor(ctx, q)
}

func TestReadPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.json")
	if _, err := ReadPolicy(path); err == nil {
		t.Error("no error for a missing file")
	}
	id := strings.Repeat("01", 32)
	for text, want := range map[string]string{
		`{"mrSigners": ["` + id + `"]}`:             "",
		`{"mrEnclaves": ["` + id + `"]}`:            "",
		`{"anyEnclave": true}`:                      "",
		`{"trustDomain": {"any": true}}`:            "",
		`{"trustDomain": {}}`:                       "which trust domains are accepted",
		`{}`:                                        "which enclaves are accepted",
		`{"anyEnclave": false}`:                     "which enclaves are accepted",
		`{"statuses": ["SWHardeningNeeded"]}`:       "which enclaves are accepted",
		`{"mrSigners": []}`:                         "mrSigners: empty list",
		`{"anyEnclave": true, "AnyEnclave": false}`: "AnyEnclave",
		`{"anyEnclave": true`:                       "unexpected end",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPolicy(path); (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
