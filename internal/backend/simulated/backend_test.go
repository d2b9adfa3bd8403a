package simulated_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
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
		t.Errorf("the quote's key is %x, InitQuote said %x", got, initialized.PublicKeyID)
	}
	if q.Signature.QEReport.MREnclave != initialized.TargetInfo.MREnclave {
		t.Error("the quoting enclave is not the target of reports")
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
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

func TestForeignReportsAreRefused(t *testing.T) {
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
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// The answer to a challenge convinces the enclave that asked: it is for that
// enclave, from the quoting enclave, about this nonce and this quote.
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

// The root that programs are given is the one that quotes chain to.
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
		t.Errorf("sgx/simulation/root.pem is another certificate than\n%s", root)
	}
}

func TestCollateral(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.FixedZone("", 3600))
	c, err := simulated.NewCollateral(now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := simulated.NewCollateral(now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := json.Marshal(again); !bytes.Equal(text, other) {
		t.Error("collateral of the same day differs")
	}
	for _, want := range []string{`"id":"SGX","version":3,"issueDate":"2026-03-04T00:00:00Z","nextUpdate":"2026-04-03T00:00:00Z","fmspc":"005A1D000000"`, `{"svn":7},{"svn":7},{"svn":2}`} {
		if !strings.Contains(c.TCBInfo, want) {
			t.Errorf("no %s in %s", want, c.TCBInfo)
		}
	}
	if !strings.Contains(c.QEIdentity, `"id":"QE","version":2`) {
		t.Errorf("QE identity: %s", c.QEIdentity)
	}
	for name, data := range simulated.Files(c) {
		if len(data) == 0 {
			t.Errorf("%s is empty", name)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(data) {
			t.Errorf("%s is no JSON: %s", name, data)
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
