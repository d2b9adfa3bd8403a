package evidence

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/confcom/confcom/sgx"
)

// The functions in this file name what is not evidence with a quote, for error messages. They
// may err; nothing is accepted because of them.

const (
	adviceLocal  = "only the same machine can check it; ask a quoting enclave for a quote of it"
	adviceResult = "it is the result of an appraisal, not evidence; pass the quote that was appraised"
)

func isNoQuote(err error) bool { return errors.Is(err, ErrNoQuote) }

func looksLikeEPID() error {
	return looksLike("an EPID quote", "Intel has discontinued EPID; only ECDSA quotes (DCAP) can be verified")
}

// describeBinary returns the error for bytes that are in no form that is read.
func describeBinary(data []byte) error {
	u32 := func(offset int) uint32 {
		if len(data) < offset+4 {
			return 0
		}
		return binary.LittleEndian.Uint32(data[offset:])
	}
	if err := describeMagic(data); err != nil {
		return err
	}
	switch {
	case len(data) == 0:
		return looksLike("no data", "")
	case len(bytes.Trim(data, "\x00")) == 0:
		return looksLike(fmt.Sprintf("%d zeros", len(data)), "")
	case isHCLReport(data):
		return describeHCLReport(data)
	case len(data) == snpReportSize && u32(0) >= 2 && u32(0) <= 5 && u32(0x34) == 1:
		return looksLike("an SEV-SNP report", "it is evidence of an AMD processor; confcom verifies SGX and TDX quotes")
	case isTDREPORT(data):
		return looksLike("a TDREPORT", adviceLocal)
	case isSGXReport(data):
		return looksLike("an SGX REPORT, not a quote", adviceLocal)
	case len(data) == sgx.TargetInfoSize:
		return looksLike(fmt.Sprintf("%d bytes, the size of an SGX TARGETINFO", len(data)), "")
	case len(data) > evidenceHeaderSize && isOpenEnclaveFormat(formatID(data[4:20])):
		return looksLike(fmt.Sprintf("Open Enclave evidence of version %d", u32(0)), "version 3 is read")
	case isEPIDQuote(data):
		return looksLikeEPID()
	case u32(0) == evidenceHeaderVersion && len(data) > evidenceHeaderSize && binary.LittleEndian.Uint64(data[20:]) <= uint64(len(data)):
		return looksLike(fmt.Sprintf("Open Enclave evidence of the unknown format %s", formatID(data[4:20])), "")
	case u32(0) == 1 && u32(4) == 2 && u32(12) > 0 && u32(12) < 64:
		return looksLike("Open Enclave endorsements: collateral, not evidence", "")
	case len(data) > 48 && bytes.Equal(data[12:28], intelVendor()):
		return looksLike(fmt.Sprintf("a quote of version %d with an attestation key of type %d", u32(0)&0xffff, u32(0)>>16),
			"versions 3 to 5 with keys of type 2 (ECDSA-P256) can be verified")
	}
	if err := describeDamagedText(data); err != nil {
		return err
	}
	if i := bytes.Index(data, intelVendor()); i > 12 {
		return looksLike(fmt.Sprintf("%d bytes in an unknown or damaged form, with a quote at offset %d", len(data), i-12), "")
	}
	return looksLike(fmt.Sprintf("%d bytes that start with %x", len(data), data[:min(len(data), 8)]), "")
}

// describeDamagedText returns the error for text with bytes that are none, or nil.
func describeDamagedText(data []byte) error {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	bad, first := 0, -1
	for i, b := range data {
		if b >= 0x80 || b < ' ' && b != '\n' && b != '\r' && b != '\t' {
			if bad++; first < 0 {
				first = i
			}
		}
	}
	if bad == 0 || bad > len(data)/50 {
		return nil
	}
	return looksLike(fmt.Sprintf("damaged text: byte %d of %d is %#02x", first+1, len(data), data[first]), "")
}

// intelVendor returns the ID of the vendor in the quotes of Intel's quoting enclaves, at
// offset 12.
func intelVendor() []byte {
	return []byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}
}

// Sizes of the reports of hardware.
const (
	snpReportSize = 1184
	tdReportSize  = 1024
)

// isTDREPORT reports whether data is a TDREPORT_STRUCT: type 0x81 of TDX, subtype 0, version
// 0 or 1, reserved.
func isTDREPORT(data []byte) bool {
	return len(data) == tdReportSize && data[0] == 0x81 && data[1] == 0 && data[2] <= 1 && data[3] == 0
}

func isSGXReport(data []byte) bool {
	var report sgx.Report
	if len(data) != sgx.ReportSize || report.UnmarshalBinary(data) != nil {
		return false
	}
	_, set := report.Body.Reserved()
	return !set
}

// isEPIDQuote reports whether data is sgx_quote_t of sgx_quote.h: version 1 or 2, linkable or
// not, and a signature of the length that is stated.
func isEPIDQuote(data []byte) bool {
	const signatureLength = 48 + sgx.ReportBodySize
	if len(data) < signatureLength+4 || data[0] < 1 || data[0] > 2 || data[1] != 0 || data[2] > 1 || data[3] != 0 {
		return false
	}
	return uint64(binary.LittleEndian.Uint32(data[signatureLength:])) == uint64(len(data)-signatureLength-4)
}

func describeHCLReport(data []byte) error {
	if _, err := hclRuntimeData(data); err != nil {
		return looksLike(err.Error(), "")
	}
	return looksLike("the HCL report of an Azure TDX machine: it holds a TDREPORT, but no quote",
		"get the quote of this TDREPORT from the machine's metadata service (/acc/tdquote)")
}

// describeMagic returns the error for files that people pass by mistake and that start in their
// own way, or nil.
func describeMagic(data []byte) error {
	for _, m := range []struct{ prefix, name, advice string }{
		{"\x1f\x8b", "a gzip file", "unpack it first"},
		{"PK\x03\x04", "a zip file", "unpack it first"},
		{"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"},
		{"\x7fELF", "a program or a library (ELF)", ""},
		{"\xff\xfe", "text in UTF-16", "write it in UTF-8"},
		{"\xfe\xff", "text in UTF-16", "write it in UTF-8"},
		{"\xffTCG", "a quote of a TPM, not of SGX or TDX", ""},
	} {
		if bytes.HasPrefix(data, []byte(m.prefix)) {
			return looksLike(m.name, m.advice)
		}
	}
	return nil
}

// describeDER returns the error for DER that is not a certificate, for which err is the reason.
func describeDER(data []byte, err error) error {
	if _, crlError := x509.ParseRevocationList(data); crlError == nil {
		return looksLike("a certificate revocation list: collateral, not evidence", "")
	}
	if _, requestError := x509.ParseCertificateRequest(data); requestError == nil {
		return looksLike("a certificate signing request", "")
	}
	return looksLike(fmt.Sprintf("a damaged certificate, or other DER (%v)", err), "")
}

// describeCertificate returns the error for a certificate without a quote.
func describeCertificate(certificate *x509.Certificate, extensions map[string][]byte) error {
	name := certificate.Subject.CommonName
	switch {
	case extensions[oidIntelSGX] != nil:
		return looksLike(fmt.Sprintf("the PCK certificate of a platform (%q), without a quote: an endorsement, not evidence", name), "")
	case extensions[oidDstackVersioned] != nil:
		return looksLike("a certificate with dstack's versioned attestation", "get the quote from dstack's GetQuote")
	}
	return looksLike(fmt.Sprintf("a certificate without a quote (%q)", name), "")
}

// jwt matches a signed JSON web token in compact form (RFC 7515, section 7.1).
var jwt = regexp.MustCompile(`^[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*$`)

// describeJWT returns the error for a JSON web token, or nil.
func describeJWT(text string) error {
	match := jwt.FindStringSubmatch(text)
	if match == nil {
		return nil
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(match[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	switch {
	case strings.Contains(claims.Issuer, "attest.azure."):
		return looksLike("a JWT of Azure Attestation", adviceResult)
	case strings.Contains(strings.ToLower(claims.Issuer), "trustauthority") || claims.Issuer == "Intel Trust Authority":
		return looksLike("a JWT of Intel Trust Authority", adviceResult)
	}
	return looksLike(fmt.Sprintf("a JWT issued by %.80q", claims.Issuer), adviceResult)
}

// describeText returns the error for text in no encoding.
func describeText(text string, e *notEncodedError) error {
	if err := describeJWT(text); err != nil {
		return err
	}
	if err := describeMagic([]byte(text)); err != nil {
		return err
	}
	lower := strings.ToLower(text[:min(len(text), 512)])
	switch {
	case strings.HasPrefix(lower, "<!doctype html") || strings.HasPrefix(lower, "<html"):
		return looksLike("an HTML page", "did a proxy or a login page answer instead of the service?")
	case strings.HasPrefix(lower, "<?xml"):
		return looksLike("an XML document", "")
	case strings.Contains(text, "-----BEGIN "):
		return describePEM(text)
	case e.character < ' ':
		return looksLike(fmt.Sprintf("%d bytes that start with %x", len(text), text[:min(len(text), 8)]), "")
	case len(e.text) >= 200 && !strings.ContainsAny(e.text, " \t\""):
		return looksLike(fmt.Sprintf("damaged base64: character %d of %d is %q", e.index+1, utf8.RuneCountInString(e.text), e.character), "")
	}
	return looksLike("text without a quote", "pass hexadecimal, base64, JSON, or a PEM block \""+PEMType+"\"")
}

// describePEM returns the error for text with PEM, none of which is a quote or a certificate.
func describePEM(text string) error {
	_, after, _ := strings.Cut(text, "-----BEGIN ")
	kind, _, _ := strings.Cut(after, "-----")
	switch kind {
	case certificateType:
		return looksLike(fmt.Sprintf("PEM %q that does not start a line", kind), "write the block as it was printed, one line of it per line")
	case "X509 CRL":
		return looksLike("a certificate revocation list: collateral, not evidence", "")
	}
	return looksLike(fmt.Sprintf("PEM of type %.40q", kind), fmt.Sprintf("a quote has the type %q", PEMType))
}

// describeNotJSON returns the error for text that only starts like JSON.
func describeNotJSON(text []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset >= int64(len(text)) {
		return looksLike("JSON whose end is missing", "")
	}
	if bytes.IndexByte(text, '\n') > 0 && text[0] != '"' {
		return looksLike(fmt.Sprintf("text of several lines that is not JSON as a whole (%v)", err), "pass only the value with the quote")
	}
	return looksLike(fmt.Sprintf("damaged JSON (%v)", err), "")
}

// describeObject returns the error for a JSON object without a quote.
func describeObject(members map[string]json.RawMessage) error {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return members[name] != nil })
	}
	switch {
	case len(members) == 0:
		return looksLike("an empty JSON object", "")
	case has("tcbInfo"):
		return looksLike("TCB info of Intel's service or of a PCCS: collateral, not evidence", "")
	case has("enclaveIdentity"):
		return looksLike("the identity of a quoting enclave of Intel's service or of a PCCS: collateral, not evidence", "")
	case has("tcb_info", "qe_identity", "tcb_info_issuer_chain"):
		return looksLike("collateral, not evidence", "pass it with --collateral")
	case has("issuer_chain"):
		return looksLike("a part of collateral with its issuer chain, not evidence", "")
	case has("tcbLevels", "tcbEvaluationDataNumber"):
		return looksLike("TCB info or the identity of a quoting enclave: collateral, not evidence", "")
	case has("token"):
		var token string
		if json.Unmarshal(members["token"], &token) == nil {
			if err := describeJWT(token); err != nil {
				return err
			}
		}
		return looksLike("the reply of a verifier", adviceResult)
	case has("x-ms-attestation-type", "x-ms-ver", "attester_tcb_status", "eat_profile"):
		return looksLike("the claims of a verifier's token", adviceResult)
	case has("trusted", "checks"):
		return looksLike("the result of confcom quote verify", adviceResult)
	case has("header", "signature"):
		return looksLike("the output of confcom quote inspect -o json, which cannot be read back", "pass the quote itself")
	case has("attestation_report", "cert_chain") || has("tpm_quote") && has("vcek"):
		return looksLike("evidence of an AMD SEV-SNP machine", "confcom verifies SGX and TDX quotes")
	case has("isvEnclaveQuoteBody", "isvEnclaveQuoteStatus"):
		return looksLike("a report of Intel's attestation service for EPID", "Intel has discontinued EPID")
	}
	names := slices.Sorted(maps.Keys(members))
	text := fmt.Sprintf("%.40q", names[:min(len(names), 4)])
	return looksLike("a JSON object without a quote: its first members are "+strings.Trim(text, "[]"), "")
}
