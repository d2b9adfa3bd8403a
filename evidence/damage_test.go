package evidence_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// cut removes the last n bytes.
func cut(n int) func([]byte) []byte { return func(d []byte) []byte { return d[:len(d)-n] } }

// add appends text.
func add(text string) func([]byte) []byte { return func(d []byte) []byte { return append(d, text...) } }

// set replaces the byte at an offset, from the end if it is negative.
func set(offset int, b byte) func([]byte) []byte {
	return func(d []byte) []byte {
		if offset < 0 {
			offset += len(d)
		}
		d[offset] = b
		return d
	}
}

// replace replaces the first occurrence of a text.
func replace(old, new string) func([]byte) []byte {
	return func(d []byte) []byte { return bytes.Replace(d, []byte(old), []byte(new), 1) }
}

// encode returns text as JSON.
func encode(text string) []byte {
	data, err := json.Marshal(text)
	if err != nil {
		panic(err) // no string fails
	}
	return data
}

// Each kind of form is damaged in several ways, and the error says where.
func TestDamaged(t *testing.T) {
	byName := make(map[string]form)
	for _, f := range forms(t) {
		byName[f.name] = f
	}
	size := len(byName["raw"].quote)
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		cause  error
		want   string // a part of the message
	}{
		{"raw", cut(300), evidence.ErrMalformed, "signature data at offset 436: data ends here"},
		{"raw", add("junk"), evidence.ErrTrailing, "4 bytes follow the quote of 4304 bytes"},
		{"raw", add("\x00\x00\x01"), evidence.ErrTrailing, "3 bytes follow the quote"},
		{"raw", set(0, 6), evidence.ErrNoQuote, "a quote of version 6 with an attestation key of type 2"},
		{"raw", set(2, 3), evidence.ErrMalformed, "attestation key type at offset 2: not supported: 3"},
		{"raw, TDX", set(4, 0x82), evidence.ErrMalformed, "TEE type at offset 4: not supported"},
		{"zero-padded", set(-1, 1), evidence.ErrTrailing, "3696 bytes follow the quote"},
		{"newline tail", add("\n# a comment"), evidence.ErrTrailing, "13 bytes follow the quote"},

		{"hex", cut(300), evidence.ErrMalformed, "hexadecimal: malformed: quote: signature data"},
		{"hex", cut(1), evidence.ErrMalformed, "8607 digits, want an even number"},
		{"hex", add("junk"), evidence.ErrMalformed, "character 8609 is 'j', want a hexadecimal digit"},
		{"hex", add("0a0b"), evidence.ErrTrailing, "2 bytes follow the quote"},
		{"hex", set(100, 0xff), evidence.ErrNoQuote, "damaged text: byte 101 of 8608 is 0xff"},
		{"hex in capitals, 0x, newline, NUL", set(9, 'g'), evidence.ErrMalformed, "character 8 is 'g'"},
		{"base64", cut(4), evidence.ErrMalformed, "5737 characters that do not end like base64: is the end missing?"},
		{"base64", cut(301), evidence.ErrMalformed, "base64: malformed: quote: signature data"},
		{"base64", add("junk"), evidence.ErrTrailing, "base64: bytes left over: 4 characters follow the padding"},
		{"base64", set(1000, '!'), evidence.ErrNoQuote, "damaged base64: character 1001 of 5740 is '!'"},
		{"base64", set(1000, '-'), evidence.ErrAmbiguous, "characters of base64 (+ or /) and of base64url (- or _)"},
		{"base64url", set(-1, 'B'), evidence.ErrMalformed, "do not end like base64"}, // its last bits are no byte
		{"base64url with padding", cut(1), nil, ""},                                  // the padding is optional
		{"base64url with padding", set(-2, '='), evidence.ErrMalformed, "data ends here: 3867 bytes left, want 3868"},
		{"base64url with padding", add("="), evidence.ErrMalformed, "5741 characters with 2 of padding, want a multiple of 4"},
		{"base64 in lines", replace("\n", " and\n"), evidence.ErrNoQuote, "text without a quote"},
		{"base64 behind timestamps", add("another line"), evidence.ErrNoQuote, "text without a quote"},
		{"base64 behind timestamps", cut(301), evidence.ErrMalformed, "log lines: base64: malformed"},
		{"JSON string", cut(2), evidence.ErrNoQuote, "JSON whose end is missing"},
		{"JSON string", set(100, '!'), evidence.ErrMalformed, "JSON string: malformed: neither hexadecimal nor base64: character 100 is '!'"},
		{"JSON string", add("junk"), evidence.ErrNoQuote, "damaged JSON (invalid character 'j' after top-level value)"},

		{"PEM", cut(30), evidence.ErrMalformed, "PEM: malformed: SGX QUOTE at line 1: no end"},
		{"PEM", replace("END SGX QUOTE", "END CERTIFICATE"), evidence.ErrMalformed, `line 92 ends a block "CERTIFICATE"`},
		{"PEM", set(200, '!'), evidence.ErrMalformed, "SGX QUOTE at line 1: illegal base64 data"},
		{"PEM", add("-----BEGIN SGX QUOTE-----"), evidence.ErrMalformed, "SGX QUOTE at line 93: no end"},
		{"PEM", add("quote=-----BEGIN SGX QUOTE-----\n"), evidence.ErrMalformed, "line 93 has more than the start of a block"},
		{"PEM", func(d []byte) []byte { return encode(string(d)) }, evidence.ErrMalformed, "PEM: malformed: line 1 has more than the start of a block"},
		{"PEM", replace("AwAC", "BgAC"), evidence.ErrMalformed, "does not start like a quote"},
		{"PEM in a log", replace("\n-----END SGX", "\nready\n-----END SGX"), evidence.ErrMalformed, "SGX QUOTE at line 3"},
		{"PEM in a log", replace("-----END SGX QUOTE-----\n", ""), evidence.ErrMalformed, "SGX QUOTE at line 3: no end"},
		{"PEM, kubectl logs --timestamps", replace("-----BEGIN SGX QUOTE-----\n", "-----BEGIN SGX QUOTE-----\n-----BEGIN SGX QUOTE-----\n"), evidence.ErrMalformed, "no end before line 4"},

		{"Open Enclave report", cut(300), evidence.ErrMalformed, "Open Enclave report: malformed: 4004 bytes after the header, want 4304"},
		{"Open Enclave report", add("junk"), evidence.ErrTrailing, "4 bytes follow the data of 4304 bytes"},
		{"Open Enclave report", set(16, 9), evidence.ErrMalformed, "does not start like a quote"},
		{"Open Enclave report", set(4, 3), evidence.ErrNoQuote, "a quote at offset 16"},
		{"Open Enclave evidence", cut(300), evidence.ErrMalformed, "4010 bytes after the header, want 4310"},
		{"Open Enclave evidence", add("junk"), evidence.ErrTrailing, "Open Enclave evidence: bytes left over"},
		{"Open Enclave evidence", set(0, 2), evidence.ErrNoQuote, "Open Enclave evidence of version 2"},
		{"Open Enclave evidence", set(4, 0), evidence.ErrNoQuote, "unknown format 00a21e87-1b4d-4014-b70a-a125d2fbcd8c"},
		{"Open Enclave evidence, legacy report", set(28, 2), evidence.ErrMalformed, "without a report"},
		{"Open Enclave evidence, raw quote", set(20, 0), evidence.ErrTrailing, "bytes follow the data"},

		{"Azure Attestation, SGX", cut(5), evidence.ErrNoQuote, "JSON whose end is missing"},
		{"Azure Attestation, SGX", replace(`"nonce"`, `"Nonce"`), evidence.ErrMalformed, `request to Azure Attestation: malformed: unknown member "Nonce"`},
		{"Azure Attestation, SGX", replace(`"Binary"`, `"binary"`), evidence.ErrMalformed, `member "runtimeData": dataType "binary", want "JSON" or "Binary"`},
		{"Azure Attestation, SGX", replace(`"nonce":"n"`, `"nonce":"n","nonce":"n"`), evidence.ErrMalformed, `duplicate member "nonce"`},
		{"Azure Attestation, TDX", replace(`"quote":"BAAC`, `"quote":"B!AC`), evidence.ErrMalformed, `member "quote": neither hexadecimal nor base64: character 2 is '!'`},
		{"Azure Attestation, TDX", replace(`"quote":"BAAC`, `"quote":null,"quotes":"BAAC`), evidence.ErrMalformed, `unknown member "quotes"`},
		{"Azure Attestation, Open Enclave", replace(`"report":"AQAA`, `"report":"BQAA`), evidence.ErrNoQuote, "request to Azure Attestation: base64url: no quote found"},
		{"Azure Attestation, samples", replace(`"QuoteHex":"01`, `"QuoteHex":"0!`), evidence.ErrMalformed, `member "QuoteHex": neither hexadecimal nor base64: character 2 is '!'`},
		{"Intel Trust Authority, version 1", replace(`"val"`, `"value"`), evidence.ErrMalformed, `member "verifier_nonce": unknown member "value"`},
		{"Intel Trust Authority, version 1", replace(`"quote":"AwAC`, `"quote":"Aw-C`), evidence.ErrAmbiguous, `member "quote"`},
		{"Intel Trust Authority, version 1", replace(`"user_data"`, `"user-data"`), evidence.ErrMalformed, `unknown member "user-data"`},
		{"Intel Trust Authority, version 2", replace(`"quote":"BAAC`, `"Quote":"BAAC`), evidence.ErrMalformed, `member "tdx": unknown member "Quote"`},
		{"Intel Trust Authority, version 2", replace(`"tdx":{`, `"tdx":null,"more":{`), evidence.ErrMalformed, `unknown member "more"`},
		{"Intel Trust Authority, version 2", replace(`"runtime_data":null`, `"runtime_data":7`), evidence.ErrMalformed, `member "runtime_data": json: cannot unmarshal number`},
		{"Confidential Containers, TDX", replace(`"cc_eventlog":"`, `"cc_eventlog":"!`), evidence.ErrMalformed, `member "cc_eventlog"`},
		{"dstack", replace(`"vm_config"`, `"vmConfig"`), evidence.ErrMalformed, `reply of dstack: malformed: unknown member "vmConfig"`},
		{"dstack", replace(`"quote":"0400`, `"quote":"040`), evidence.ErrMalformed, "want an even number"},
		{"Azure vTPM, version 0", replace(`[4,0,2,`, `[4,0,256,`), evidence.ErrMalformed, `member "td_quote": number 3 is "256", want 0 to 255`},
		{"Azure vTPM, version 0", replace(`[4,0,2,`, `[4,0,-2,`), evidence.ErrMalformed, `member "td_quote"`},
		{"Azure vTPM, version 0", replace(`[4,0,2,`, `[4,null,2,`), evidence.ErrMalformed, `member "td_quote": number 2 is "null", want 0 to 255`},
		{"Azure vTPM, version 2", replace(`"version":2`, `"version":3`), evidence.ErrMalformed, `member "version": 3 is not supported, want one of [1 2]`},
		{"Azure vTPM, version 2", replace(`"hcl_report":"SENM`, `"hcl_report":"SENN`), evidence.ErrMalformed, `member "hcl_report": 2600 bytes that are no HCL report`},
		{"configfs-tsm", replace(`"outblob":"BAAC`, `"outblob":"`), evidence.ErrNoQuote, "report of configfs-tsm: base64: no quote found"},

		{"tagged evidence", cut(1), evidence.ErrNoQuote, "damaged CBOR (unexpected EOF)"},
		{"tagged evidence", add("junk"), evidence.ErrTrailing, "4 bytes follow the CBOR"},
		{"tagged evidence", set(7, 9), evidence.ErrMalformed, "tagged evidence: malformed: does not start like a quote"},
		{"tagged evidence", set(3, 0x83), evidence.ErrNoQuote, "damaged CBOR"},
		{"CMW record, JSON", replace(`,"BAAC`, `,"BA=C`), evidence.ErrMalformed, "CMW record: malformed: value: want base64url without padding"},
		{"CMW record, JSON", replace(`["application/tdx-quote"`, `[1`), evidence.ErrMalformed, "CMW record: malformed: type: "},
		{"CMW record, JSON, indicator", replace(`,4]`, `,0]`), evidence.ErrMalformed, "indicator: 0, want 1 or more"},
		{"CMW record, JSON, indicator", replace(`,4]`, `,32]`), evidence.ErrMalformed, "indicator 32, want 1 to 31"},
		{"CMW record, JSON, indicator", replace(`,4]`, `,8]`), evidence.ErrNoQuote, "a conceptual message that states to be no evidence (indicator 8)"},
		{"CMW record, CBOR", set(-1, 0), evidence.ErrMalformed, "indicator: 0, want 1 or more"},
		{"CMW record, CBOR", set(1, 0x55), evidence.ErrMalformed, "type: want a media type or a CoAP content format"},
		{"CMW record, CBOR", set(0, 0x82), evidence.ErrTrailing, "1 bytes follow the CBOR"},
		{"CMW tag", set(4, 0), evidence.ErrNoQuote, "CBOR with tag 1668611840"},
		{"CMW collection, JSON", replace(`"cpu":[`, `"cpu":7,"x":[`), evidence.ErrMalformed, `CMW collection: malformed: "cpu" is neither a record nor a collection`},
		{"CMW collection, JSON", replace(`"tag:example.com,2024:x"`, `["a/b","AA"]`), evidence.ErrMalformed, "the type of the collection is not a string"},
		{"configfs-tsm, CBOR", replace("hprovider", "hprovides"), evidence.ErrMalformed, `unknown member "provides"`},
		{"CMW collection, JSON", replace(`,4],`, `],`), nil, ""},
		{"CMW collection, JSON", replace(`"application/tdx-quote","BAAC`, `"application/tdx-quote","BAAD`), evidence.ErrMalformed, "CMW collection: CMW record: malformed: quote: "},
		{"CMW collection, CBOR", set(-300, 0xff), nil, ""},

		{"RA-TLS, Gramine before 1.8", cut(1), evidence.ErrNoQuote, "a damaged certificate (asn1: syntax error: data truncated): is the end missing?"},
		{"RA-TLS, Gramine before 1.8", add("junk"), evidence.ErrTrailing, "4 bytes follow the certificate"},
		{"RA-TLS, Gramine before 1.8", replace("\x03\x00\x02\x00\x00\x00", "\x02\x00\x02\x00\x00\x00"), evidence.ErrMalformed, "certificate: quote extension of Gramine: malformed: does not start like a quote"},
		{"RA-TLS, Gramine 1.8", replace("\xd9\xea\x60\x82", "\xd9\xea\x60\x83"), evidence.ErrNoQuote, "certificate: no quote found: this looks like damaged CBOR"},
		{"RA-TLS, Gramine 1.8", replace("\xd9\xea\x60\x82", "\xd9\xea\x62\x82"), evidence.ErrNoQuote, "tagged evidence with an SGX REPORT (CBOR tag 60002)"},
		{"RA-TLS, EGo", replace("\x01\x00\x00\x00\x02\x00", "\x01\x00\x00\x00\x01\x00"), evidence.ErrNoQuote, "an Open Enclave report for local attestation"},
		{"RA-TLS, Open Enclave evidence", replace("\x03\x00\x00\x00\xa3", "\x03\x00\x00\x00\xa4"), evidence.ErrMalformed, "extension of Open Enclave without a report or evidence"},
		{"RA-TLS, dstack", replace("\x04\x00\x02\x00\x81", "\x04\x00\x09\x00\x81"), evidence.ErrMalformed, "quote extension of dstack: malformed"},
		{"certificate with a CMW, CBOR", replace("\x82\x75application/sgx-quote", "\x81\x75application/sgx-quote"), evidence.ErrMalformed, "neither JSON in a UTF8String nor CBOR in an OCTET STRING"},
		{"certificate with a CMW, JSON", replace(`["application`, `<"application`), evidence.ErrMalformed, "neither JSON in a UTF8String nor CBOR in an OCTET STRING"},
		{"RA-TLS, PEM, with a chain", cut(20), evidence.ErrMalformed, "PEM: malformed: CERTIFICATE at line 101: no end"},
	} {
		f, found := byName[c.name]
		if !found {
			t.Fatalf("no form %q", c.name)
		}
		before := bytes.Clone(f.data)
		data := c.damage(bytes.Clone(f.data))
		if bytes.Equal(data, before) {
			t.Errorf("%s, %q: not damaged", c.name, c.want)
			continue
		}
		_, err := evidence.Parse(data)
		if c.cause == nil {
			if err != nil {
				t.Errorf("%s: %v, want no error", c.name, err)
			}
			continue
		}
		var located *evidence.Error
		if !errors.Is(err, c.cause) || !errors.As(err, &located) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q and the cause %q", c.name, err, c.want, c.cause)
			continue
		}
		checkError(t, err)
		if strings.Count(err.Error(), "evidence: ")-strings.Count(err.Error(), "Enclave evidence: ")-strings.Count(err.Error(), "tagged evidence: ") != 1 {
			t.Errorf("%s: %v repeats the package", c.name, err)
		}
	}
	if size != 4304 {
		t.Errorf("the quote has %d bytes: adapt the table", size)
	}
}

func TestFormatError(t *testing.T) {
	_, err := evidence.Parse(sgxQuote(t)[:1000])
	var format *quote.FormatError
	if !errors.As(err, &format) || !errors.Is(err, quote.ErrTruncated) {
		t.Errorf("%v, want a *quote.FormatError", err)
	}
}

// Data with two quotes is never read as one of them.
func TestAmbiguous(t *testing.T) {
	s, d := sgxQuote(t), tdxQuote(t)
	pemQuote := pemBlock("SGX QUOTE", s)
	ra, _ := certificate(t, oidReportNew, string(openEnclaveReport(2, s)))
	several := func(extensions ...string) []byte { der, _ := certificate(t, extensions...); return der }
	report, raw := string(openEnclaveReport(2, s)), string(openEnclaveEvidence(t, 3, formatRaw, s))
	evidenceTag := string(tagged(t, 60000, s, []byte("claims")))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"two blocks", join(pemQuote, pemQuote), "in SGX QUOTE at line 1 and SGX QUOTE at line 93"},
		{"two files, each with a byte order mark", join([]byte("\ufeff"), pemQuote, []byte("\ufeff"), pemQuote), "two quotes in one text"},
		{"a block and a certificate", join(pemQuote, pemBlock("CERTIFICATE", ra)), "in SGX QUOTE at line 1 and CERTIFICATE at line 93"},
		{"two certificates", join(pemBlock("CERTIFICATE", ra), pemBlock("CERTIFICATE", ra)), "two quotes in one text"},
		{"SGX and TDX", encodeJSON(t, map[string]any{"sgx": map[string]any{"quote": s}, "tdx": map[string]any{"quote": d}}), `in members "sgx" and "tdx"`},
		{"two records", encodeJSON(t, map[string]any{"a": []any{"a/b", b64url(s)}, "b": []any{"a/b", b64url(s)}}), `in "a" and "b"`},
		{"two records, CBOR", encodeCBOR(t, map[any]any{1: []any{"a/b", s}, "b": []any{"a/b", d}}), "two quotes"},
		{"report and evidence", several(oidReport, report, oidEvidenceNew, raw), "in extensions 1.2.840.113556.10.1.1 and 1.3.6.1.4.1.311.105.2"},
		{"tagged evidence and a report", several(oidTagged, evidenceTag, oidReportNew, report), "in extensions 2.23.133.5.4.9 and 1.3.6.1.4.1.311.105.1"},
		{"tagged evidence and a CMW", several(oidCMW, string(encodeDER(t, encodeCBOR(t, []any{"a/b", s}), "")), oidTagged, evidenceTag), "in extensions"},
		{"Gramine and Open Enclave", several(oidGramine, string(s), oidReportNew, report), "in extensions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := evidence.Parse(c.data); !errors.Is(err, evidence.ErrAmbiguous) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	both := func(a, b map[string]any) []byte {
		all := make(map[string]any)
		for _, m := range []map[string]any{a, b} {
			for name, value := range m {
				all[name] = value
			}
		}
		return encodeJSON(t, all)
	}
	for _, data := range [][]byte{
		both(map[string]any{"quote": b64(s)}, map[string]any{"report": b64(openEnclaveReport(2, s))}),
		both(map[string]any{"quote": b64(s)}, map[string]any{"td_quote": b64(d)}),
		both(map[string]any{"quote": b64(s), "runtimeData": map[string]string{}}, map[string]any{"runtime_data": ""}),
		both(map[string]any{"outblob": b64(s)}, map[string]any{"QuoteHex": hex.EncodeToString(s)}),
		both(map[string]any{"tdx": map[string]any{"quote": d}}, map[string]any{"quote": b64(s)}),
		both(map[string]any{"__cmwc_t": "1.2", "a": []any{"a/b", b64url(s)}}, map[string]any{"quote": b64(s)}),
		[]byte(`{"quote": "` + b64(s) + `", "quote": "` + b64(s) + `"}`),
		[]byte(`{"quote": "` + b64(s) + `"} {"quote": "` + b64(s) + `"}`),
		[]byte(`{"quote": "` + b64(s) + `", "\u0071uote": "` + b64(s) + `"}`),
	} {
		if e, err := evidence.Parse(data); err == nil {
			t.Errorf("%.100s: %v", data, e.Forms)
		}
	}
}

// A certificate with two extensions of one kind is refused, whichever is first.
func TestTwoExtensions(t *testing.T) {
	report := string(openEnclaveReport(2, sgxQuote(t)))
	der, _ := certificate(t, oidReport, report, oidReport, report)
	if e, err := evidence.Parse(der); !errors.Is(err, evidence.ErrNoQuote) || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("%v, %v", e, err)
	}
}

// A certificate that cannot be read is not skipped beside a quote: another program may read
// it, and find another quote in it.
func TestUnreadableCertificate(t *testing.T) {
	report := string(openEnclaveReport(2, sgxQuote(t)))
	twice, _ := certificate(t, oidReport, report, oidReport, report)
	whole, _ := certificate(t, oidReport, report)
	other, _ := certificate(t, "1.2.3", "")
	quote := pemBlock("SGX QUOTE", sgxQuote(t))
	for name, certificate := range map[string][]byte{"two extensions": twice, "no end": whole[:len(whole)-1]} {
		for _, text := range [][]byte{join(quote, pemBlock("CERTIFICATE", certificate)), join(pemBlock("CERTIFICATE", certificate), quote)} {
			if e, err := evidence.Parse(text); !errors.Is(err, evidence.ErrMalformed) || !strings.Contains(err.Error(), "CERTIFICATE at line") {
				t.Errorf("%s: read: %t, %v", name, e != nil, err)
			}
		}
	}
	if _, err := evidence.Parse(join(quote, pemBlock("CERTIFICATE", other))); err != nil {
		t.Errorf("a certificate without a quote: %v", err)
	}
}

// A binary form is never searched for a quote: neither a quote whose certification data hold
// one in PEM, nor a certificate whose name does.
func TestNotSearched(t *testing.T) {
	q, err := quote.Parse(sgxQuote(t))
	if err != nil {
		t.Fatal(err)
	}
	hidden := pemBlock("SGX QUOTE", sgxQuote(t))
	q.Enclave.MREnclave[0] ^= 1
	q.Signature.CertificationData.Data = append(q.Signature.CertificationData.Data, "\n"+string(hidden)...)
	e, err := evidence.Parse(marshal(t, q))
	if err != nil || e.Parsed.Enclave.MREnclave != q.Enclave.MREnclave {
		t.Errorf("%v, %v", e, err)
	}
	der, _ := certificate(t, "1.2.3", "\n"+string(hidden))
	if _, err := evidence.Parse(der); !errors.Is(err, evidence.ErrNoQuote) {
		t.Error(err)
	}
}

// What is unknown in a collection is kept, not taken for a quote and not an error.
func TestCollectionErrors(t *testing.T) {
	s := sgxQuote(t)
	many := make(map[string]any)
	for i := range 100 {
		many[strings.Repeat("a", i)] = []any{"a/b", "AA"}
	}
	for _, c := range []struct {
		name  string
		data  []byte
		cause error
		want  string
	}{
		{"empty", []byte(`{"__cmwc_t": "1.2"}`), evidence.ErrMalformed, "empty"},
		{"no quote", encodeJSON(t, map[string]any{"gpu": []any{"a/b", "AAAA"}}), evidence.ErrNoQuote, "3 zeros"},
		{"no quote, CBOR", encodeCBOR(t, map[any]any{"a": "b"}), evidence.ErrNoQuote, `member "a" is neither a record`},
		{"too many", encodeJSON(t, many), evidence.ErrTooLarge, "100 parts"},
		{"deep", []byte(strings.Repeat(`{"__cmwc_t":"1.2","a":`, 30) + "[]" + strings.Repeat("}", 30)), evidence.ErrMalformed, "more than 10 forms in each other"},
		{"deep records", deepRecords(t, s, 12), evidence.ErrMalformed, "more than 10 forms in each other"},
		{"a quote that states to be endorsements", encodeJSON(t, map[string]any{"a": []any{"a/b", b64url(s), 2}}), evidence.ErrNoQuote, "indicator 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := evidence.Parse(c.data); !errors.Is(err, c.cause) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// The HCL report beside a quote of TDX must be one that can be understood.
func TestHCLReport(t *testing.T) {
	report := hclReport(4, "{}")
	at := func(offset int, b byte) []byte { d := bytes.Clone(report); d[offset] = b; return d }
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"of SEV-SNP", hclReport(2, "{}"), "the HCL report of an SEV-SNP machine"},
		{"of an unknown type", hclReport(5, "{}"), "HCL report of type 5, want 4 (TDX)"},
		{"with SHA-384", at(32+1184+12, 2), "HCL report with hash type 2, want 1 (SHA-256)"},
		{"with a size that is too large", at(32+1184+16+2, 1), "bytes after the header, want 65538"},
		{"with bytes after the runtime data", at(2599, 1), "follow the data of 2 bytes"},
		{"that is short", report[:1200], "1200 bytes that are no HCL report"},
		{"that is long", append(report, make([]byte, 64<<10)...), "bytes that are no HCL report"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := evidence.Parse(encodeJSON(t, map[string]any{"version": 1, "td_quote": b64url(tdxQuote(t)), "hcl_report": b64url(c.data), "tpm_quote": nil}))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			checkError(t, err)
		})
	}
}

// CBOR of other types than the forms have is an error, also where the decoder would take it.
func TestCBORTypes(t *testing.T) {
	s := sgxQuote(t)
	numbers := make([]int, 60)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"no claims", encodeCBOR(t, cbor.Tag{Number: 60000, Content: [][]byte{s}}), "an array of 1, want a quote and claims"},
		{"claims are null", encodeCBOR(t, cbor.Tag{Number: 60000, Content: []any{s, nil}}), "claims: not a byte string"},
		{"claims are text", encodeCBOR(t, cbor.Tag{Number: 60000, Content: []any{s, "claims"}}), "claims: not a byte string"},
		{"the quote is an array of numbers", encodeCBOR(t, cbor.Tag{Number: 60000, Content: []any{numbers, s}}), "quote: not a byte string"},
		{"a tag around an array", encodeCBOR(t, cbor.Tag{Number: 1668612070, Content: numbers}), "CMW tag: malformed: not a byte string"},
		{"a record with text", encodeCBOR(t, []any{"a/b", "text"}), "value: not a byte string"},
		{"a record with null", encodeCBOR(t, []any{"a/b", nil}), "value: not a byte string"},
		{"a record with a negative type", encodeCBOR(t, []any{-1, s}), "type: want a media type or a CoAP content format"},
		{"a record with a large type", encodeCBOR(t, []any{65536, s}), "type: want a media type or a CoAP content format"},
		{"a record without a type", encodeCBOR(t, []any{"", s}), "empty type"},
		{"two members with one label", []byte("\xa2\x61a\x82\x63a/b\x41x\x61a\x82\x63a/b\x41x"), "duplicate map key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := evidence.Parse(c.data)
			if !errors.Is(err, evidence.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// deepRecords returns a quote in n records in each other.
func deepRecords(t *testing.T, data []byte, n int) []byte {
	t.Helper()
	for range n {
		text, err := json.Marshal([]any{"application/cmw+json", b64url(data)})
		if err != nil {
			t.Fatal(err)
		}
		data = text
	}
	return data
}
