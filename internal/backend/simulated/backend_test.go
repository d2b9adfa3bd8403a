package simulated_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func newPlatform(t testing.TB, node string) *simulated.Backend {
	t.Helper()
	p, err := simulated.New(node)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newReport returns the report of an enclave for p's quoting enclave.
func newReport(t testing.TB, p *simulated.Backend) sgx.Report {
	t.Helper()
	initialized, err := p.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := sgx.ReportBody{MREnclave: sgx.Measurement{1}, ReportData: sgx.ReportData{2}}
	report, err := simulation.DefaultCPU().Report(body, initialized.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestQuote(t *testing.T) {
	p := newPlatform(t, "node-1")
	report := newReport(t, p)
	quoted, err := p.Quote(t.Context(), report, nil)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := p.QuoteSize(t.Context()); err != nil || size != len(quoted.Quote) {
		t.Errorf("QuoteSize = %d, %v for a quote of %d bytes", size, err, len(quoted.Quote))
	}
	q, err := quote.Parse(quoted.Quote)
	if err != nil {
		t.Fatal(err)
	}
	if *q.Enclave != report.Body {
		t.Error("the quote is of another enclave")
	}
	initialized, _ := p.InitQuote(t.Context())
	if got := q.Signature.QEReport.ReportData[:32]; !bytes.Equal(got, initialized.PublicKeyID[:]) {
		t.Errorf("the quote has key %x, InitQuote returned %x", got, initialized.PublicKeyID)
	}
	if q.Signature.QEReport.MREnclave != initialized.TargetInfo.MREnclave {
		t.Error("the quoting enclave is not the target of reports")
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	platform, err := attest.ParsePlatform(chain[0])
	if want := (aesm.Backend{Kind: "simulated", Certified: true, Components: platform.Components, PCESVN: platform.PCESVN}); err != nil || initialized.Backend != want {
		t.Errorf("described as %+v, the quote has %+v, %v", initialized.Backend, want, err)
	}
	for _, c := range chain {
		if !strings.HasPrefix(c.Subject.CommonName, "SIMULATED (NOT INTEL) ") {
			t.Errorf("a certificate's name is %q", c.Subject.CommonName)
		}
	}
}

func TestDeterministic(t *testing.T) {
	make := func(node string) []byte {
		p := newPlatform(t, node)
		quoted, err := p.Quote(t.Context(), newReport(t, p), nil)
		if err != nil {
			t.Fatal(err)
		}
		return quoted.Quote
	}
	if !bytes.Equal(make("node-1"), make("node-1")) {
		t.Error("two quotes of the same report on the same node differ")
	}
	if bytes.Equal(make("node-1"), make("node-2")) {
		t.Error("two nodes made the same quote")
	}
}

func TestOtherReports(t *testing.T) {
	p := newPlatform(t, "node-1")
	for name, change := range map[string]func(*sgx.Report){
		"MAC":         func(r *sgx.Report) { r.MAC[0] ^= 1 },
		"report data": func(r *sgx.Report) { r.Body.ReportData[0] ^= 1 },
		"CPUSVN":      func(r *sgx.Report) { r.Body.CPUSVN[0] ^= 1 },
	} {
		report := newReport(t, p)
		change(&report)
		_, err := p.Quote(t.Context(), report, nil)
		var code aesm.Code
		if !errors.As(err, &code) || code != aesm.CodeInvalidReport {
			t.Errorf("modified %s: %v", name, err)
		}
	}
}

// The answer to a challenge is a report for the application enclave, by the quoting enclave, on
// the nonce and the quote.
func TestChallenge(t *testing.T) {
	p := newPlatform(t, "node-1")
	report := newReport(t, p)
	me := sgx.TargetInfo{MREnclave: report.Body.MREnclave, Attributes: report.Body.Attributes, MiscSelect: 7}
	challenge := &aesm.Challenge{Nonce: [aesm.NonceSize]byte{1, 2, 3}, Target: me}
	quoted, err := p.Quote(t.Context(), report, challenge)
	if err != nil {
		t.Fatal(err)
	}
	if err := simulation.DefaultCPU().Verify(quoted.QEReport, me); err != nil {
		t.Error(err)
	}
	want := sha256.Sum256(append(challenge.Nonce[:], quoted.Quote...))
	if got := quoted.QEReport.Body.ReportData; !bytes.Equal(got[:32], want[:]) || !bytes.Equal(got[32:], make([]byte, 32)) {
		t.Errorf("report data %s, want %x and zeros", got, want)
	}
	initialized, _ := p.InitQuote(t.Context())
	if quoted.QEReport.Body.MREnclave != initialized.TargetInfo.MREnclave {
		t.Error("the report is not the quoting enclave's")
	}
}

// Quotes chain to the root in sgx/simulation.
func TestRoot(t *testing.T) {
	p := newPlatform(t, "node-1")
	quoted, err := p.Quote(t.Context(), newReport(t, p), nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quote.Parse(quoted.Quote)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	if root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[2].Raw}); !bytes.Equal(root, simulation.RootPEM()) {
		t.Errorf("sgx/simulation/root.pem is another certificate, want\n%s", root)
	}
}

// The bytes of quotes and reports never change.
func TestGolden(t *testing.T) {
	p := newPlatform(t, "node-1")
	initialized, err := p.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report, err := p.Report(initialized.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	data, err := report.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := p.Quote(t.Context(), report, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string // SHA-256
	}{
		"report": {data, "d7de7f460b0a971c985d4616db839a5fc15b64f7d266b49cd6eaa4ba915a5876"},
		"quote":  {quoted.Quote, "32ef9e5c84460fcafefa9357c3edf5c0893feef206cb995487122157041456fd"},
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(c.data)); got != c.want {
			t.Errorf("%s has SHA-256 %s, want %s", name, got, c.want)
		}
	}
}

func BenchmarkQuote(b *testing.B) {
	p := newPlatform(b, "node-1")
	report := newReport(b, p)
	for b.Loop() {
		if _, err := p.Quote(context.Background(), report, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleBackend() {
	platform, err := simulated.New("node-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	initialized, _ := platform.InitQuote(context.Background())
	report, _ := simulation.DefaultCPU().Report(sgx.ReportBody{ReportData: sgx.ReportData{42}}, initialized.TargetInfo)
	quoted, _ := platform.Quote(context.Background(), report, nil)
	q, _ := quote.Parse(quoted.Quote)
	fmt.Println("report data starts with", q.ReportData()[0])
	// Output: report data starts with 42
}
