package quote_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// A quote without certificates is verified with those of a file, of the collateral, or of a
// service.
func TestPCKCertificate(t *testing.T) {
	issuer, err := attesttest.NewIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := issuer.PCKChain()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	quoteFile := func(kind quote.CertificationDataType) string {
		t.Helper()
		issuer.CertificationType = kind
		q, err := issuer.Quote(sgx.ReportBody{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := q.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return file(kind.String(), data)
	}
	bundle, err := json.Marshal(collateral)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(certificates ...*x509.Certificate) (text []byte) {
		for _, c := range certificates {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		return text
	}
	leaf, all := file("leaf.pem", encode(chain[0])), file("all.pem", encode(chain[2], chain[1], chain[0]))
	byID, withLeaf := quoteFile(quote.PPIDRSA3072), quoteFile(quote.PCKLeaf)
	service := httptest.NewServer(attesttest.Handler(collateral))
	defer service.Close()
	verify := func(quote, collateral string, args ...string) []string {
		return append([]string{"quote", "verify", quote, "--any-enclave", "--root", file("root.pem", simulation.RootPEM()), "--collateral", collateral}, args...)
	}
	inFile := file("collateral.json", bundle)
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"PPID, certificates in a file", verify(byID, inFile, "--pck-certificate", all), 0, "TRUSTED until"},
		{"PPID, the CAs' in the collateral", verify(byID, inFile, "--pck-certificate", leaf), 0, "TRUSTED until"},
		{"PPID, no certificate", verify(byID, inFile), 2, "none of 2 certificates has the key"},
		{"PPID, no collateral", []string{"quote", "verify", byID}, 2, "pass the PCK certificate (--pck-certificate)"},
		{"PPID, a service without the platform", verify(byID, service.URL), 2, "pckcert"},
		{"PPID, file and service", verify(byID, service.URL, "--pck-certificate", all), 0, "TRUSTED until"},
		{"PPID, the CAs' of the service", verify(byID, service.URL, "--pck-certificate", leaf), 0, "TRUSTED until"},
		{"PCK certificate, the CAs' in the collateral", verify(withLeaf, inFile), 0, "TRUSTED until"},
		{"PCK certificate, the CAs' of the service", verify(withLeaf, service.URL), 0, "TRUSTED until"},
		{"an empty file", verify(byID, inFile, "--pck-certificate", file("empty", nil)), 2, "empty is empty"},
		{"no certificates", verify(byID, inFile, "--pck-certificate", inFile), 2, "--pck-certificate: certificate 1: not complete PEM"},
	} {
		exit, out, errs := clitest.Run(t, nil, c.args...)
		if exit != c.exit || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", c.name, exit, c.exit, c.want, out, errs)
		}
	}
}
