package evidence_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// sgxQuote returns the bytes of a quote for an enclave.
func sgxQuote(t testing.TB) []byte {
	t.Helper()
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, q)
}

// tdxQuote returns the bytes of a quote for a trust domain, without valid signatures.
func tdxQuote(t testing.TB) []byte {
	t.Helper()
	q, err := quote.Parse(sgxQuote(t))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Version, q.Header.TEE, q.Header.QESVN, q.Header.PCESVN = quote.Version4, quote.TDX, 0, 0
	q.BodyType, q.Enclave, q.TD = quote.BodyTDX10, nil, &tdx.ReportBody{MRTD: tdx.Measurement{2}}
	return marshal(t, q)
}

// withCertification returns a quote with other certification data.
func withCertification(t testing.TB, kind quote.CertificationDataType, size int) []byte {
	t.Helper()
	q, err := quote.Parse(sgxQuote(t))
	if err != nil {
		t.Fatal(err)
	}
	q.Signature.CertificationData = quote.CertificationData{Type: kind, Data: bytes.Repeat([]byte{7}, size)}
	return marshal(t, q)
}

func marshal(t testing.TB, q *quote.Quote) []byte {
	t.Helper()
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func b64(data []byte) string    { return base64.StdEncoding.EncodeToString(data) }
func b64url(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// wrapped returns text in lines of 64 characters, each after a prefix.
func wrapped(prefix, text, end string) string {
	var b strings.Builder
	for len(text) > 0 {
		n := min(64, len(text))
		b.WriteString(prefix + text[:n] + end)
		text = text[n:]
	}
	return b.String()
}

func pemBlock(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

// prefixed returns text with a prefix before each line.
func prefixed(prefix string, text []byte) []byte {
	var b []byte
	for line := range bytes.Lines(text) {
		b = append(append(b, prefix...), line...)
	}
	return b
}

// openEnclaveReport returns data behind the header of a report.
func openEnclaveReport(kind uint32, data []byte) []byte {
	p := binary.LittleEndian.AppendUint32(nil, 1)
	p = binary.LittleEndian.AppendUint32(p, kind)
	p = binary.LittleEndian.AppendUint64(p, uint64(len(data)))
	return append(p, data...)
}

// openEnclaveEvidence returns data behind the header of evidence of a format.
func openEnclaveEvidence(t testing.TB, version uint32, format string, data []byte) []byte {
	t.Helper()
	id, err := hex.DecodeString(strings.ReplaceAll(format, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	p := append(binary.LittleEndian.AppendUint32(nil, version), id...)
	p = binary.LittleEndian.AppendUint64(p, uint64(len(data)))
	return append(p, data...)
}

// The formats of Open Enclave evidence.
const (
	formatSGX    = "a3a21e87-1b4d-4014-b70a-a125d2fbcd8c"
	formatLegacy = "c8303454-d923-4c2c-a691-df7def460a76"
	formatRaw    = "1923d91e-12d2-4c72-b220-25cd8dace871"
	formatTDX    = "8ba70286-c1cf-11ed-afa1-0242ac120002"
	formatLocal  = "09268c33-6e0b-45e5-8a27-15644d0ef89a"
	formatEPID   = "f228aa3f-de4d-49d3-884c-b2aa87a50da6"
)

// hclReport returns the HCL report of a machine with this runtime data.
func hclReport(kind uint32, runtime string) []byte {
	p := append([]byte("HCLA"), make([]byte, 32-4+1184)...)
	p = binary.LittleEndian.AppendUint32(p, uint32(20+len(runtime)))
	for _, n := range []uint32{1, kind, 1, uint32(len(runtime))} { // version, type, SHA-256, size
		p = binary.LittleEndian.AppendUint32(p, n)
	}
	p = append(p, runtime...)
	return append(p, make([]byte, 2600-len(p))...)
}

func encodeCBOR(t testing.TB, v any) []byte {
	t.Helper()
	data, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tagged returns tagged evidence.
func tagged(t testing.TB, number uint64, quote, claims []byte) []byte {
	t.Helper()
	return encodeCBOR(t, cbor.Tag{Number: number, Content: [][]byte{quote, claims}})
}

func encodeJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func encodeDER(t testing.TB, v any, parameters string) []byte {
	t.Helper()
	data, err := asn1.MarshalWithParams(v, parameters)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The extensions of certificates.
const (
	oidTagged       = "2.23.133.5.4.9"
	oidEndorsements = "2.23.133.5.4.2"
	oidCMW          = "1.3.6.1.5.5.7.1.35"
	oidIntel        = "1.2.840.113741.1.13.1"
	oidGramine      = "0.6.9.42.840.113741.1337.6"
	oidGramineClean = "1.2.840.113741.1337.6"
	oidReport       = "1.2.840.113556.10.1.1"
	oidReportNew    = "1.3.6.1.4.1.311.105.1"
	oidEvidence     = "1.2.840.113556.10.1.2"
	oidEvidenceNew  = "1.3.6.1.4.1.311.105.2"
	oidDstack       = "1.3.6.1.4.1.62397.1.1"
	oidDstackLog    = "1.3.6.1.4.1.62397.1.2"
	oidDstackV1     = "1.3.6.1.4.1.62397.1.8"
)

// certificate returns a certificate with extensions, which are pairs of OID and value, and
// its public key.
func certificate(t testing.TB, extensions ...string) (der, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "RATLS"}}
	for i := 0; i < len(extensions); i += 2 {
		oid, err := x509.ParseOID(extensions[i])
		if err != nil {
			t.Fatal(err)
		}
		raw, err := oid.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var id asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(append([]byte{6, byte(len(raw))}, raw...), &id); err != nil {
			t.Fatal(err)
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: id, Value: []byte(extensions[i+1])})
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private); err != nil {
		t.Fatal(err)
	}
	if key, err = x509.MarshalPKIXPublicKey(private.Public()); err != nil {
		t.Fatal(err)
	}
	return der, key
}

// form is a form with a quote in it, and what Parse must find.
type form struct {
	name        string
	data        []byte
	quote       []byte
	forms       []evidence.Form
	padding     int
	attachments []evidence.Attachment
}

// forms returns one of each form. Other tests damage them.
func forms(t testing.TB) []form {
	t.Helper()
	s, d := sgxQuote(t), tdxQuote(t)
	claims := []byte("claims")
	endorsements := []byte{0xd9, 0xea, 0x60, 0x80}
	runtime := `{"keys":[{"kid":"HCLAkPub"}],"user-data":"00"}`
	report := hclReport(4, runtime)
	nonce := map[string][]byte{"val": []byte("value"), "iat": []byte("time"), "signature": []byte("signature")}
	pemQuote := pemBlock("SGX QUOTE", s)
	longLog := join([]byte("a log\nof a pod: ready\n"), pemQuote, []byte("done\n"))
	number := func(data []byte) (numbers []int) {
		for _, b := range data {
			numbers = append(numbers, int(b))
		}
		return numbers
	}
	certificateForm := func(name string, quote []byte, forms []evidence.Form, attachments []evidence.Attachment, extensions ...string) form {
		der, key := certificate(t, extensions...)
		attachments = append([]evidence.Attachment{{Kind: evidence.PublicKey, Data: key}}, attachments...)
		return form{name: name, data: der, quote: quote, forms: append([]evidence.Form{evidence.FormCertificate}, forms...), attachments: attachments}
	}
	all := []form{
		{name: "raw", data: bytes.Clone(s), quote: s},
		{name: "raw, TDX", data: bytes.Clone(d), quote: d},
		{name: "zero-padded", data: join(s, make([]byte, 8000-len(s))), quote: s, padding: 8000 - len(s)},
		{name: "NUL tail", data: join(s, []byte{0}), quote: s, padding: 1},
		{name: "newline tail", data: join(s, []byte("\n")), quote: s, padding: 1},
		{name: "CRLF tail", data: join(s, []byte("\r\n")), quote: s, padding: 2},

		{name: "hex", data: []byte(hex.EncodeToString(s)), quote: s, forms: []evidence.Form{evidence.FormHex}},
		{name: "hex in capitals, 0x, newline, NUL", data: []byte("0x" + strings.ToUpper(hex.EncodeToString(s)) + "\n\x00"), quote: s, forms: []evidence.Form{evidence.FormHex}},
		{name: "hex of a padded quote", data: []byte(hex.EncodeToString(join(d, make([]byte, 3)))), quote: d, padding: 3, forms: []evidence.Form{evidence.FormHex}},
		{name: "hex in lines, CRLF, byte order mark", data: []byte("\ufeff" + wrapped("  ", hex.EncodeToString(s), "\r\n")), quote: s, forms: []evidence.Form{evidence.FormHex}},
		{name: "base64", data: []byte(b64(s) + "\n"), quote: s, forms: []evidence.Form{evidence.FormBase64}},
		{name: "base64 in lines", data: []byte(wrapped("", b64(d), "\n")), quote: d, forms: []evidence.Form{evidence.FormBase64}},
		{name: "base64 without padding", data: []byte(strings.TrimRight(b64(join(s, make([]byte, 1+(3-len(s)%3)%3))), "=")), quote: s, padding: 1 + (3-len(s)%3)%3, forms: []evidence.Form{evidence.FormBase64}},
		{name: "base64url", data: []byte(b64url(s)), quote: s, forms: []evidence.Form{evidence.FormBase64URL}},
		{name: "base64url with padding", data: []byte(base64.URLEncoding.EncodeToString(s)), quote: s, forms: []evidence.Form{evidence.FormBase64URL}},
		{name: "base64 behind timestamps", data: []byte(wrapped("2026-11-25T10:00:00.123456789Z ", b64(s), "\n")), quote: s, forms: []evidence.Form{evidence.FormLog, evidence.FormBase64}},
		{name: "base64 behind timestamps, with a blank line", data: []byte("2026-11-25T10:00:00Z\n2026-11-25T10:00:01Z " + b64(s) + "\r\n\r\n"), quote: s, forms: []evidence.Form{evidence.FormLog, evidence.FormBase64}},
		{name: "base64 of PEM", data: []byte(b64(pemQuote)), quote: s, forms: []evidence.Form{evidence.FormBase64, evidence.FormPEM}},
		{name: "JSON string", data: []byte(`"` + b64(s) + `"` + "\n"), quote: s, forms: []evidence.Form{evidence.FormString, evidence.FormBase64}},

		{name: "PEM", data: pemQuote, quote: s, forms: []evidence.Form{evidence.FormPEM}},
		{name: "PEM in a log", data: longLog, quote: s, forms: []evidence.Form{evidence.FormPEM}},
		{name: "PEM, CRLF, byte order mark", data: join([]byte("\ufeff"), bytes.ReplaceAll(pemQuote, []byte("\n"), []byte("\r\n"))), quote: s, forms: []evidence.Form{evidence.FormPEM}},
		{name: "PEM, indented", data: prefixed("    \t", pemQuote), quote: s, forms: []evidence.Form{evidence.FormPEM}},
		{name: "PEM, kubectl logs --timestamps", data: prefixed("2026-11-25T10:00:00.123456789Z ", longLog), quote: s, forms: []evidence.Form{evidence.FormPEM}},
		{name: "PEM, kubectl logs --prefix --timestamps", data: prefixed("[pod/job-x7/main] 2026-11-25T10:00:00+01:00 ", longLog), quote: s, forms: []evidence.Form{evidence.FormPEM}},
		{name: "PEM, /var/log/pods", data: prefixed("2026-11-25T10:00:00.1Z stdout F ", longLog), quote: s, forms: []evidence.Form{evidence.FormPEM}},

		{name: "Open Enclave report", data: openEnclaveReport(2, s), quote: s, forms: []evidence.Form{evidence.FormOpenEnclaveReport}},
		{name: "Open Enclave report, hex", data: []byte(hex.EncodeToString(openEnclaveReport(2, s))), quote: s, forms: []evidence.Form{evidence.FormHex, evidence.FormOpenEnclaveReport}},
		{name: "Open Enclave report, padded", data: join(openEnclaveReport(2, s), make([]byte, 2)), quote: s, forms: []evidence.Form{evidence.FormOpenEnclaveReport}},
		{name: "Open Enclave evidence", data: openEnclaveEvidence(t, 3, formatSGX, join(s, claims)), quote: s, forms: []evidence.Form{evidence.FormOpenEnclaveEvidence},
			attachments: []evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}}},
		{name: "Open Enclave evidence without claims", data: openEnclaveEvidence(t, 3, formatSGX, s), quote: s, forms: []evidence.Form{evidence.FormOpenEnclaveEvidence}},
		{name: "Open Enclave evidence, legacy report", data: openEnclaveEvidence(t, 3, formatLegacy, openEnclaveReport(2, s)), quote: s,
			forms: []evidence.Form{evidence.FormOpenEnclaveEvidence, evidence.FormOpenEnclaveReport}},
		{name: "Open Enclave evidence, raw quote", data: openEnclaveEvidence(t, 3, formatRaw, s), quote: s, forms: []evidence.Form{evidence.FormOpenEnclaveEvidence}},
		{name: "Open Enclave evidence, TDX", data: openEnclaveEvidence(t, 3, formatTDX, d), quote: d, forms: []evidence.Form{evidence.FormOpenEnclaveEvidence}},

		{name: "Azure Attestation, SGX", quote: s, forms: []evidence.Form{evidence.FormAzure, evidence.FormBase64URL},
			data: encodeJSON(t, map[string]any{"quote": b64url(s), "runtimeData": map[string]string{"data": b64url([]byte("runtime")), "dataType": "Binary"},
				"initTimeData": map[string]string{"data": b64([]byte("init")), "dataType": "JSON"}, "nonce": "n", "draftPolicyForAttestation": "p"}),
			attachments: []evidence.Attachment{{Kind: evidence.InitTimeData, Data: []byte("init"), Type: "JSON"}, {Kind: evidence.Nonce, Data: []byte("n")},
				{Kind: evidence.RuntimeData, Data: []byte("runtime"), Type: "Binary"}}},
		{name: "Azure Attestation, TDX", quote: d, forms: []evidence.Form{evidence.FormAzure, evidence.FormBase64},
			data:        encodeJSON(t, map[string]any{"quote": b64(d), "runtimeData": map[string]string{"data": b64url([]byte(runtime)), "dataType": "JSON"}}),
			attachments: []evidence.Attachment{{Kind: evidence.RuntimeData, Data: []byte(runtime), Type: "JSON"}}},
		{name: "Azure Attestation, Open Enclave", quote: s, forms: []evidence.Form{evidence.FormAzure, evidence.FormBase64URL, evidence.FormOpenEnclaveReport},
			data:        encodeJSON(t, map[string]any{"report": b64url(openEnclaveReport(2, s)), "runtimeData": map[string]string{"data": b64url([]byte("runtime"))}}),
			attachments: []evidence.Attachment{{Kind: evidence.RuntimeData, Data: []byte("runtime")}}},
		{name: "Azure Attestation, samples", quote: s, forms: []evidence.Form{evidence.FormAzureSample, evidence.FormHex, evidence.FormOpenEnclaveReport},
			data: encodeJSON(t, map[string]any{"Type": 2, "MrEnclaveHex": "00", "MrSignerHex": "00", "ProductIdHex": "00", "SecurityVersion": 1, "Attributes": 7,
				"QuoteHex": hex.EncodeToString(openEnclaveReport(2, s)), "EnclaveHeldDataHex": "616263"}),
			attachments: []evidence.Attachment{{Kind: evidence.RuntimeData, Data: []byte("abc")}}},
		{name: "Intel Trust Authority, version 1", quote: s, forms: []evidence.Form{evidence.FormTrustAuthority, evidence.FormBase64},
			data: encodeJSON(t, map[string]any{"quote": s, "verifier_nonce": nonce, "runtime_data": []byte("held"), "user_data": []byte("user"), "event_log": []byte("log"), "policy_ids": []string{"1"},
				"token_signing_alg": "RS256", "policy_must_match": true}),
			attachments: []evidence.Attachment{{Kind: evidence.EventLog, Data: []byte("log")}, {Kind: evidence.RuntimeData, Data: []byte("held")}, {Kind: evidence.UserData, Data: []byte("user")},
				{Kind: evidence.Nonce, Data: []byte("valuetime")}, {Kind: evidence.NonceSignature, Data: []byte("signature")}}},
		{name: "Intel Trust Authority, base64 that looks like hexadecimal", quote: s, forms: []evidence.Form{evidence.FormTrustAuthority, evidence.FormBase64},
			data:        []byte(`{"quote": "` + b64(s) + `", "runtime_data": "AAAA", "user_data": ""}`),
			attachments: []evidence.Attachment{{Kind: evidence.RuntimeData, Data: make([]byte, 3)}}},
		{name: "Intel Trust Authority, version 2", quote: d, forms: []evidence.Form{evidence.FormTrustAuthority, evidence.FormBase64},
			data: encodeJSON(t, map[string]any{"tdx": map[string]any{"quote": d, "runtime_data": nil, "verifier_nonce": nonce}, "policy_ids": []string{}, "tpm": map[string]string{"quote": "AA=="}}),
			attachments: []evidence.Attachment{{Kind: evidence.Nonce, Data: []byte("valuetime")}, {Kind: evidence.NonceSignature, Data: []byte("signature")},
				{Kind: evidence.TPMQuote, Data: []byte(`{"quote":"AA=="}`), Type: "JSON"}}},
		{name: "Confidential Containers, SGX; Azure's metadata service", data: encodeJSON(t, map[string]any{"quote": b64(s)}), quote: s, forms: []evidence.Form{evidence.FormJSON, evidence.FormBase64}},
		{name: "Confidential Containers, TDX", data: encodeJSON(t, map[string]any{"quote": b64(d), "cc_eventlog": b64([]byte("log"))}), quote: d, forms: []evidence.Form{evidence.FormCoCo, evidence.FormBase64},
			attachments: []evidence.Attachment{{Kind: evidence.EventLog, Data: []byte("log")}}},
		{name: "Confidential Containers, TDX without a log", data: encodeJSON(t, map[string]any{"quote": b64(d), "cc_eventlog": nil}), quote: d, forms: []evidence.Form{evidence.FormCoCo, evidence.FormBase64}},
		{name: "dstack", data: encodeJSON(t, map[string]any{"quote": hex.EncodeToString(d), "event_log": `[{"imr":0}]`, "vm_config": "{}", "report_data": ""}), quote: d, forms: []evidence.Form{evidence.FormDstack, evidence.FormHex},
			attachments: []evidence.Attachment{{Kind: evidence.EventLog, Data: []byte(`[{"imr":0}]`)}}},
		{name: "dstack, first version", data: encodeJSON(t, map[string]any{"quote": hex.EncodeToString(d), "event_log": `[]`}), quote: d, forms: []evidence.Form{evidence.FormDstack, evidence.FormHex},
			attachments: []evidence.Attachment{{Kind: evidence.EventLog, Data: []byte(`[]`)}}},
		{name: "Azure vTPM, version 0", data: encodeJSON(t, map[string]any{"tpm_quote": map[string]any{"pcrs": []int{}}, "hcl_report": number(report), "td_quote": number(join(d, make([]byte, 70)))}), quote: d, padding: 70,
			forms: []evidence.Form{evidence.FormAzureVTPM},
			attachments: []evidence.Attachment{{Kind: evidence.HCLReport, Data: report}, {Kind: evidence.RuntimeData, Data: []byte(runtime), Type: "JSON"},
				{Kind: evidence.TPMQuote, Data: []byte(`{"pcrs":[]}`), Type: "JSON"}}},
		{name: "Azure vTPM, version 2", data: encodeJSON(t, map[string]any{"version": 2, "tpm_quote": map[string]any{"pcrs": []int{}}, "hcl_report": b64url(report), "td_quote": b64url(d)}), quote: d,
			forms: []evidence.Form{evidence.FormAzureVTPM, evidence.FormBase64URL},
			attachments: []evidence.Attachment{{Kind: evidence.HCLReport, Data: report}, {Kind: evidence.RuntimeData, Data: []byte(runtime), Type: "JSON"},
				{Kind: evidence.TPMQuote, Data: []byte(`{"pcrs":[]}`), Type: "JSON"}}},
		{name: "Azure vTPM, attested TLS", data: encodeJSON(t, map[string]any{"tdx_quote_base64": base64.URLEncoding.EncodeToString(d), "hcl_report_base64": base64.URLEncoding.EncodeToString(report), "tpm_attestation": map[string]any{}}), quote: d,
			forms: []evidence.Form{evidence.FormAzureVTPM, evidence.FormBase64URL},
			attachments: []evidence.Attachment{{Kind: evidence.HCLReport, Data: report}, {Kind: evidence.RuntimeData, Data: []byte(runtime), Type: "JSON"},
				{Kind: evidence.TPMQuote, Data: []byte(`{}`), Type: "JSON"}}},
		{name: "configfs-tsm", data: encodeJSON(t, map[string]any{"provider": "tdx_guest\n", "outblob": d, "auxblob": ""}), quote: d, forms: []evidence.Form{evidence.FormTSM, evidence.FormBase64}},
		{name: "configfs-tsm, CBOR", data: encodeCBOR(t, map[string]string{"provider": "tdx_guest\n", "outblob": b64(d)}), quote: d, forms: []evidence.Form{evidence.FormTSM, evidence.FormBase64}},

		{name: "tagged evidence", data: tagged(t, 60000, s, claims), quote: s, forms: []evidence.Form{evidence.FormTaggedEvidence}, attachments: []evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}}},
		{name: "tagged evidence with a line end", data: join(tagged(t, 60000, s, claims), []byte("\n")), quote: s, forms: []evidence.Form{evidence.FormTaggedEvidence}, attachments: []evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}}},
		{name: "CMW record, JSON", data: encodeJSON(t, []any{"application/tdx-quote", b64url(d)}), quote: d, forms: []evidence.Form{evidence.FormCMWRecord}},
		{name: "CMW record, JSON, indicator", data: encodeJSON(t, []any{"application/tdx-quote", b64url(d), 4}), quote: d, forms: []evidence.Form{evidence.FormCMWRecord}},
		{name: "CMW record, JSON, configfs-tsm", data: encodeJSON(t, []any{"application/vnd.veraison.tsm-report+json", b64url(encodeJSON(t, map[string]any{"provider": "tdx_guest", "outblob": d}))}), quote: d,
			forms: []evidence.Form{evidence.FormCMWRecord, evidence.FormTSM, evidence.FormBase64}},
		{name: "CMW record, CBOR", data: encodeCBOR(t, []any{"application/tdx-quote", d, 6}), quote: d, forms: []evidence.Form{evidence.FormCMWRecord}},
		{name: "CMW record, CBOR, content format", data: encodeCBOR(t, []any{64999, tagged(t, 60000, s, claims)}), quote: s, forms: []evidence.Form{evidence.FormCMWRecord, evidence.FormTaggedEvidence},
			attachments: []evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}}},
		{name: "CMW tag", data: encodeCBOR(t, cbor.Tag{Number: 1668612070, Content: s}), quote: s, forms: []evidence.Form{evidence.FormCMWTag}},
		{name: "CMW collection, JSON", data: encodeJSON(t, map[string]any{"__cmwc_t": "tag:example.com,2024:x", "cpu": []any{"application/tdx-quote", b64url(d), 4}, "crl": []any{"application/pkix-crl", b64url([]byte("crl")), 2}}), quote: d,
			forms:       []evidence.Form{evidence.FormCMWCollection, evidence.FormCMWRecord},
			attachments: []evidence.Attachment{{Kind: evidence.Endorsements, Data: []byte("crl"), Type: "application/pkix-crl"}}},
		{name: "CMW collection in a collection, JSON", data: encodeJSON(t, map[string]any{"__cmwc_t": "1.2.3", "machine": map[string]any{"cpu": []any{"application/tdx-quote", b64url(d)}}}), quote: d,
			forms: []evidence.Form{evidence.FormCMWCollection, evidence.FormCMWCollection, evidence.FormCMWRecord}},
		{name: "CMW collection, CBOR", data: encodeCBOR(t, map[any]any{0: []any{"application/gpu", []byte("gpu")}, "cpu": cbor.Tag{Number: 1668612070, Content: s}}), quote: s,
			forms:       []evidence.Form{evidence.FormCMWCollection, evidence.FormCMWTag},
			attachments: []evidence.Attachment{{Kind: evidence.OtherRecord, Data: []byte("gpu"), Type: "application/gpu"}}},

		certificateForm("RA-TLS, Gramine before 1.8", s, []evidence.Form{evidence.FormExtensionGramine}, nil, oidGramine, string(s)),
		certificateForm("RA-TLS, Gramine, well-formed OID", s, []evidence.Form{evidence.FormExtensionGramine}, nil, oidGramineClean, string(s)),
		certificateForm("RA-TLS, Gramine 1.8", s, []evidence.Form{evidence.FormTaggedEvidence},
			[]evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}, {Kind: evidence.LegacyQuote, Data: d}}, oidGramine, string(d), oidTagged, string(tagged(t, 60000, s, claims))),
		certificateForm("RA-TLS, Intel SGX SDK", s, []evidence.Form{evidence.FormTaggedEvidence},
			[]evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}, {Kind: evidence.Endorsements, Data: endorsements}},
			oidIntel, string(s), oidTagged, string(tagged(t, 60000, s, claims)), oidEndorsements, string(endorsements)),
		certificateForm("RA-TLS, Intel SGX SDK, without tagged evidence", s, []evidence.Form{evidence.FormExtensionIntel}, nil, oidIntel, string(s)),
		certificateForm("RA-TLS, Open Enclave report", s, []evidence.Form{evidence.FormOpenEnclaveReport}, nil, oidReport, string(openEnclaveReport(2, s))),
		certificateForm("RA-TLS, EGo", s, []evidence.Form{evidence.FormOpenEnclaveReport}, nil, oidReportNew, string(openEnclaveReport(2, s))),
		certificateForm("RA-TLS, Open Enclave evidence, first OID", s, []evidence.Form{evidence.FormOpenEnclaveEvidence}, nil, oidEvidence, string(openEnclaveEvidence(t, 3, formatRaw, s))),
		certificateForm("RA-TLS, Open Enclave evidence", s, []evidence.Form{evidence.FormOpenEnclaveEvidence},
			[]evidence.Attachment{{Kind: evidence.CustomClaims, Data: claims}}, oidEvidenceNew, string(openEnclaveEvidence(t, 3, formatSGX, join(s, claims)))),
		certificateForm("RA-TLS, dstack", d, []evidence.Form{evidence.FormExtensionDstack},
			[]evidence.Attachment{{Kind: evidence.EventLog, Data: []byte("[]")}}, oidDstack, string(encodeDER(t, d, "")), oidDstackLog, string(encodeDER(t, []byte("[]"), ""))),
		certificateForm("certificate with a CMW, CBOR", s, []evidence.Form{evidence.FormCMWRecord}, nil, oidCMW, string(encodeDER(t, encodeCBOR(t, []any{"application/sgx-quote", s}), ""))),
		certificateForm("certificate with a CMW, JSON", s, []evidence.Form{evidence.FormCMWRecord}, nil, oidCMW, string(encodeDER(t, string(encodeJSON(t, []any{"application/sgx-quote", b64url(s)})), "utf8"))),
	}
	padded := certificateForm("RA-TLS, DER with a line end", s, []evidence.Form{evidence.FormExtensionGramine}, nil, oidGramine, string(s))
	padded.data = append(padded.data, '\n')
	all = append(all, padded)
	der, key := certificate(t, oidReportNew, string(openEnclaveReport(2, s)))
	ca, _ := certificate(t)
	all = append(all, form{name: "RA-TLS, PEM, with a chain", data: join([]byte("subject: RATLS\n"), pemBlock("CERTIFICATE", der), pemBlock("CERTIFICATE", ca)), quote: s,
		forms: []evidence.Form{evidence.FormPEM, evidence.FormCertificate, evidence.FormOpenEnclaveReport}, attachments: []evidence.Attachment{{Kind: evidence.PublicKey, Data: key}}})
	for i := range all {
		all[i].forms = append(all[i].forms, evidence.FormQuote)
	}
	return all
}
