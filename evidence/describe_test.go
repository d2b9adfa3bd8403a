package evidence_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/sgx"
)

// sgxReport returns the report of an enclave, as EREPORT writes it.
func sgxReport(t *testing.T) []byte {
	t.Helper()
	var report sgx.Report
	report.Body.MREnclave[0] = 1
	data, err := report.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func crl(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &x509.Certificate{SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}
	data, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: attesttest.Today(), NextUpdate: attesttest.Today()}, issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func token(issuer string) []byte {
	return []byte(b64url([]byte(`{"alg":"RS256"}`)) + "." + b64url([]byte(`{"iss":"`+issuer+`"}`)) + ".c2lnbmF0dXJl\n")
}

// Data that is something else is called what it looks like.
func TestLooksLike(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(sgxQuote(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	epid := make([]byte, 48+384+4+680)
	epid[0] = 2
	binary.LittleEndian.PutUint32(epid[432:], 680)
	snp := make([]byte, 1184)
	snp[0], snp[0x34] = 3, 1
	td := make([]byte, 1024)
	td[0], td[100] = 0x81, 7
	utf16 := []byte{0xff, 0xfe}
	for _, b := range []byte(hex.EncodeToString(sgxQuote(t))) {
		utf16 = append(utf16, b, 0)
	}
	plain, _ := certificate(t)
	pck, _ := certificate(t, oidIntel, "\x30\x00")
	dstack, _ := certificate(t, oidDstackV1, "\x04\x01\x00")
	manifest := make([]byte, 4000)
	copy(manifest, "\x01\x00\x00\x00\x02\x00\x00\x00\x90\x0f\x00\x00\x09\x00\x00\x00")

	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "an empty file"},
		{"white space", []byte(" \r\n\t\n"), "an empty file"},
		{"zeros", make([]byte, 4096), "4096 zeros"},
		{"EPID", epid, "an EPID quote: Intel has discontinued EPID"},
		{"EPID, base64", []byte(b64(epid)), "an EPID quote"},
		{"EPID in Open Enclave evidence", openEnclaveEvidence(t, 3, formatEPID, epid), "an EPID quote"},
		{"SEV-SNP", snp, "an SEV-SNP report"},
		{"SEV-SNP for Azure Attestation", encodeJSON(t, map[string]any{"report": b64url(snp)}), "an SEV-SNP report"},
		{"HCL report of SEV-SNP", hclReport(2, "{}"), "the HCL report of an SEV-SNP machine"},
		{"HCL report", hclReport(4, "{}"), "the HCL report of an Azure TDX machine: it holds a TDREPORT, but no quote"},
		{"SGX REPORT", sgxReport(t), "an SGX REPORT, not a quote: only the same machine can check it"},
		{"SGX REPORT, hex", []byte(hex.EncodeToString(sgxReport(t))), "an SGX REPORT, not a quote"},
		{"SGX REPORT of Open Enclave", openEnclaveReport(1, sgxReport(t)), "an Open Enclave report for local attestation"},
		{"SGX REPORT in evidence", openEnclaveEvidence(t, 3, formatLocal, sgxReport(t)), "evidence for local attestation"},
		{"tagged SGX REPORT", tagged(t, 60002, sgxReport(t), nil), "tagged evidence with an SGX REPORT"},
		{"tagged TDREPORT", tagged(t, 60001, td, nil), "tagged evidence with a TDREPORT"},
		{"TDREPORT", td, "a TDREPORT"},
		{"TDREPORT for Azure's metadata service", encodeJSON(t, map[string]any{"report": b64url(td)}), "a TDREPORT"},
		{"target info", append(make([]byte, 511), 1), "512 bytes, the size of an SGX TARGETINFO"},
		{"endorsements of Open Enclave", manifest, "Open Enclave endorsements: collateral, not evidence"},
		{"quote of a TPM", []byte("\xffTCG\x80\x18\x00\x22"), "a quote of a TPM"},

		{"token of Azure", token("https://sharedeus.eus.attest.azure.net"), "a JWT of Azure Attestation: it is the result of an appraisal, not evidence"},
		{"token of Azure in a reply", encodeJSON(t, map[string]string{"token": strings.TrimSpace(string(token("https://x.attest.azure.net")))}), "a JWT of Azure Attestation"},
		{"token of Intel", token("https://portal.trustauthority.intel.com"), "a JWT of Intel Trust Authority: it is the result"},
		{"token of somebody", token("https://example.com"), `a JWT issued by "https://example.com"`},
		{"claims", []byte(`{"x-ms-attestation-type": "sgx", "iss": "x"}`), "the claims of a verifier's token"},
		{"a result of confcom", []byte(`{"trusted": true, "checks": []}`), "the result of confcom quote verify"},
		{"confcom quote inspect", []byte(`{"header": {}, "bodyType": "x", "signature": {}}`), "the output of confcom quote inspect -o json"},

		{"TCB info", []byte(`{"tcbInfo": {}, "signature": ""}`), "TCB info of Intel's service or of a PCCS: collateral, not evidence"},
		{"identity", []byte(`{"enclaveIdentity": {}, "signature": ""}`), "the identity of a quoting enclave"},
		{"collateral", []byte(`{"tcb_info": "", "qe_identity": ""}`), "collateral, not evidence: pass it with --collateral"},
		{"collateral of teepot", []byte(`{"tcb_info_json": "", "issuer_chain": ""}`), "a part of collateral with its issuer chain, not evidence"},
		{"CRL", crl(t), "a certificate revocation list: collateral, not evidence"},
		{"CRL in PEM", pemBlock("X509 CRL", crl(t)), "a certificate revocation list: collateral, not evidence"},
		{"certificate", plain, `a certificate without a quote ("RATLS")`},
		{"PCK certificate", pemBlock("CERTIFICATE", pck), `the PCK certificate of a platform ("RATLS"), without a quote`},
		{"certificate of dstack", dstack, "a certificate with dstack's versioned attestation"},
		{"private key", pemBlock("PRIVATE KEY", []byte{1, 2, 3}), `PEM of type "PRIVATE KEY": a quote has the type "SGX QUOTE"`},
		{"SEV-SNP of Confidential Containers", []byte(`{"attestation_report": {}, "cert_chain": []}`), "evidence of an AMD SEV-SNP machine"},
		{"SEV-SNP with a vTPM", []byte(`{"tpm_quote": {}, "hcl_report": "", "vcek": ""}`), "evidence of an AMD SEV-SNP machine"},
		{"report of IAS", []byte(`{"isvEnclaveQuoteBody": "", "isvEnclaveQuoteStatus": "OK"}`), "a report of Intel's attestation service for EPID"},

		{"HTML", []byte("<!DOCTYPE html>\n<html><body>Sign in</body></html>"), "an HTML page: did a proxy or a login page answer"},
		{"XML", []byte(`<?xml version="1.0"?><Error/>`), "an XML document"},
		{"gzip", zipped.Bytes(), "a gzip file: unpack it first"},
		{"ELF", []byte("\x7fELF\x02\x01\x01\x00"), "a program or a library"},
		{"UTF-16", utf16, "text in UTF-16: write it in UTF-8"},
		{"a sentence", []byte("error: no quote provider\n"), "text without a quote"},
		{"other JSON", []byte(`{"b": 1, "a": 2}`), `a JSON object without a quote: its first members are "a" "b"`},
		{"lists", []byte(`{"fmspcs": ["a", "b"]}`), `a JSON object without a quote: its first members are "fmspcs"`},
		{"an empty object", []byte(`{}`), "an empty JSON object"},
		{"lines of JSON", []byte("{\"a\": 1}\n{\"b\": 2}\n"), "text of several lines that is not JSON as a whole"},
		{"PEM within a line", []byte(`msg="-----BEGIN CERTIFICATE-----\nMIIB..."`), `PEM "CERTIFICATE" that does not start a line`},
		{"random bytes", []byte{0xca, 0xfe, 0xba, 0xbe, 0, 1, 2, 3, 4, 5}, "10 bytes that start with cafebabe00010203"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := evidence.Parse(c.data)
			var other *evidence.NoQuoteError
			if !errors.As(err, &other) || !errors.Is(err, evidence.ErrNoQuote) || !strings.Contains(err.Error(), "this looks like "+c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Genuine collateral is called collateral.
func TestGenuineCollateral(t *testing.T) {
	for _, pattern := range []string{"oasis/*.json", "automata/*.json", "automata/*crl.der", "intel-qvl/*.json", "intel-qvl/*Crl.pem", "phala/*.json"} {
		names, err := filepath.Glob(filepath.Join(vectors, pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			t.Skipf("NOT RUN: no genuine collateral in %s", vectors)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := evidence.Parse(data); !errors.Is(err, evidence.ErrNoQuote) || !strings.Contains(err.Error(), "collateral, not evidence") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
