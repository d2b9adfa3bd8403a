package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// vectors is the directory of genuine quotes beside the checkout.
const vectors = "../../shared/vectors"

func TestGenuineQuotes(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	for _, v := range []struct {
		file          string
		form          evidence.Form // around the quote, or empty
		size, padding int
		certification quote.CertificationDataType
		tee           quote.TEE
	}{
		{"automata/quotev3.decoded.bin", "", 4734, 0, quote.PCKChain, quote.SGX},
		{"automata/rust-crates__samples__quotev3.hex", evidence.FormHex, 4734, 0, quote.PCKChain, quote.SGX},
		{"automata/rust-crates__samples__quotev4.hex", evidence.FormHex, 4935, 3065, quote.PCKChain, quote.TDX},
		{"automata/rust-crates__samples__quotev5.dat", "", 5006, 0, quote.PCKChain, quote.TDX},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", "", 4600, 0, quote.PCKChain, quote.SGX},
		{"intel-qvl/Src__AttestationApp__sampleData__quote.dat", "", 1054, 0, quote.PPIDClear, quote.SGX},
		{"oasis/quote_v3_ecdsa_p256_eppid.bin", "", 1456, 0, quote.PPIDRSA3072, quote.SGX},
		{"oasis/quote_v3_ecdsa_p256_pck_chain.bin", "", 4730, 0, quote.PCKChain, quote.SGX},
		{"oasis/quote_v4_tdx_ecdsa_p256.bin", "", 4936, 0, quote.PCKChain, quote.TDX},
		{"oasis/quote_v4_tdx_ecdsa_p256_out_of_date.bin", "", 4935, 0, quote.PCKChain, quote.TDX},
		{"oasis/quote_v4_tdx_ecdsa_p256_trailing.bin", "", 4936, 70, quote.PCKChain, quote.TDX},
		{"phala/sample__quote-from-tappd.hex", evidence.FormHex, 4936, 70, quote.PCKChain, quote.TDX},
		{"phala/sample__sgx_quote", "", 4600, 0, quote.PCKChain, quote.SGX},
		{"phala/sample__tdx-quote.hex", evidence.FormHex, 4936, 70, quote.PCKChain, quote.TDX},
		{"phala/sample__tdx_quote", "", 4936, 70, quote.PCKChain, quote.TDX},
		{"phala/sample__tdx_quote_outdated", "", 5006, 0, quote.PCKChain, quote.TDX},
	} {
		data, err := os.ReadFile(filepath.Join(vectors, v.file))
		if err != nil {
			t.Fatal(err)
		}
		e, err := evidence.Parse(data)
		if err != nil {
			t.Errorf("%s: %v", v.file, err)
			continue
		}
		forms := []evidence.Form{evidence.FormQuote}
		if v.form != "" {
			forms = slices.Insert(forms, 0, v.form)
		}
		if !slices.Equal(e.Forms, forms) || len(e.Quote) != v.size || e.Padding != v.padding || e.Parsed.Header.TEE != v.tee {
			t.Errorf("%s: %v, %d bytes of a quote for %s, %d of padding", v.file, e.Forms, len(e.Quote), e.Parsed.Header.TEE, e.Padding)
		}
		if c := e.Certification(); c.Type != v.certification || c.Err != nil {
			t.Errorf("%s: %s", v.file, c)
		}
	}
}

// Samples are genuine evidence in forms that hold more than the quote, and what is known of it.
func TestGenuineSamples(t *testing.T) {
	dir := filepath.Join(vectors, "evidence")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NOT RUN: no genuine evidence: %v", err)
	}
	azure := []evidence.Kind{evidence.HCLReport, evidence.RuntimeData, evidence.TPMQuote}
	raTLS := []evidence.Kind{evidence.PublicKey, evidence.CustomClaims}
	wrapped := []evidence.Form{evidence.FormPEM, evidence.FormCertificate, evidence.FormTaggedEvidence}
	for _, v := range []struct {
		file  string
		forms []evidence.Form // around the quote
		size  int
		kinds []evidence.Kind
		bound evidence.Kind // what is hashed into the report data, or empty
	}{
		{"az-evidence-v0.json", []evidence.Form{evidence.FormAzureVTPM}, 4936, azure, evidence.RuntimeData},
		{"az-evidence-v1.json", []evidence.Form{evidence.FormAzureVTPM, evidence.FormBase64URL}, 4936, azure, evidence.RuntimeData},
		{"az-td-quote.bin", nil, 4936, nil, ""},
		{"gramine-cert.pem", wrapped, 4734, append(slices.Clone(raTLS), evidence.LegacyQuote), evidence.CustomClaims},
		{"intel-sgxsdk-cert.pem", wrapped, 4600, raTLS, evidence.CustomClaims},
		{"rats-tls-cert.pem", wrapped, 4734, raTLS, evidence.CustomClaims},
		{"oe-sgx_cert_ec_bad.der", []evidence.Form{evidence.FormCertificate, evidence.FormOpenEnclaveReport}, 4580, raTLS[:1], ""},
		{"oe-sgx_cert_rsa_bad.der", []evidence.Form{evidence.FormCertificate, evidence.FormOpenEnclaveReport}, 4580, raTLS[:1], ""},
		{"oe-sgx_report_bad.bin", []evidence.Form{evidence.FormOpenEnclaveReport}, 4580, nil, ""},
		{"teekit-tdx-v4-azure", []evidence.Form{evidence.FormBase64}, 4940, nil, ""},
		{"teekit-tdx-v4-gcp.json", []evidence.Form{evidence.FormTrustAuthority, evidence.FormBase64}, 4935, []evidence.Kind{evidence.Nonce, evidence.NonceSignature}, evidence.Nonce},
		{"teekit-tdx-v4-gcp-no-nonce.json", []evidence.Form{evidence.FormTrustAuthority, evidence.FormBase64}, 4935, nil, ""},
	} {
		data, err := os.ReadFile(filepath.Join(dir, v.file))
		if err != nil {
			t.Error(err)
			continue
		}
		e, err := evidence.Parse(data)
		if err != nil {
			t.Errorf("%s: %v", v.file, err)
			continue
		}
		var kinds []evidence.Kind
		for _, a := range e.Attachments {
			kinds = append(kinds, a.Kind)
		}
		if !slices.Equal(e.Forms, append(slices.Clone(v.forms), evidence.FormQuote)) || len(e.Quote) != v.size || !slices.Equal(kinds, v.kinds) {
			t.Errorf("%s: %v, a quote of %d bytes, %v", v.file, e.Forms, len(e.Quote), kinds)
		}
		if v.bound != "" && !isBound(e, v.bound) {
			t.Errorf("%s: the %s is not in the report data", v.file, v.bound)
		}
	}
}

// isBound reports whether the report data has the hash of an attachment, as the comment of its
// kind says.
func isBound(e *evidence.Evidence, kind evidence.Kind) bool {
	data, _ := e.Attached(kind)
	report := e.Parsed.ReportData()
	if kind == evidence.Nonce {
		hash := sha512.Sum512(data)
		return bytes.Equal(report[:], hash[:])
	}
	hash := sha256.Sum256(data)
	return bytes.HasPrefix(report[:], hash[:])
}

func TestCertification(t *testing.T) {
	for _, c := range []struct {
		kind     quote.CertificationDataType
		size     int
		missing  evidence.Missing
		platform bool
		want     string
	}{
		{quote.PPIDClear, 36, evidence.MissingPCKCertificate, true, "PPID in the clear (type 1): the PCK certificate must come from elsewhere"},
		{quote.PPIDRSA2048, 276, evidence.MissingPCKCertificate, true, "PPID encrypted with RSA-2048 (type 2): the PCK certificate must come from elsewhere"},
		{quote.PPIDRSA3072, 404, evidence.MissingPCKCertificate, true, "PPID encrypted with RSA-3072 (type 3): the PCK certificate must come from elsewhere"},
		{quote.PPIDRSA3072, 400, evidence.MissingPCKCertificate, false, "PPID encrypted with RSA-3072 (type 3) that cannot be read: "},
		{quote.PCKLeaf, 100, evidence.MissingCACertificates, false, "PCK certificate (type 4) that cannot be read: "},
		{quote.PCKChain, 100, evidence.NothingMissing, false, "PCK certificate chain (type 5) that cannot be read: "},
		{quote.PlatformManifest, 100, evidence.MissingPCKCertificate, false, "platform manifest (type 7): the PCK certificate must come from elsewhere"},
	} {
		e, err := evidence.Parse(withCertification(t, c.kind, c.size))
		if err != nil {
			t.Fatal(err)
		}
		got := e.Certification()
		if got.Type != c.kind || got.Missing != c.missing || (got.Platform != nil) != c.platform || !bytes.HasPrefix([]byte(got.String()), []byte(c.want)) {
			t.Errorf("%+v: %s, want %s", got, got, c.want)
		}
	}
	e, err := evidence.Parse(sgxQuote(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Certification().String(); got != "PCK certificate chain (type 5): complete" {
		t.Error(got)
	}
	leaf := e.Parsed.Signature.CertificationData
	i := bytes.Index(leaf.Data, []byte("-----END CERTIFICATE-----\n")) + len("-----END CERTIFICATE-----\n")
	e.Parsed.Signature.CertificationData = quote.CertificationData{Type: quote.PCKLeaf, Data: leaf.Data[:i]}
	if got := e.Certification().String(); got != "PCK certificate (type 4): the certificates of the CAs must come from elsewhere" {
		t.Error(got)
	}
}
