package quote_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/tdx"
)

// sample returns a quote of the given kind with different bytes in every field.
func sample(version quote.Version, body quote.BodyType) *quote.Quote {
	q := &quote.Quote{
		Header:   quote.Header{Version: version, KeyType: quote.KeyECDSAP256, VendorID: quote.IntelVendorID(), UserData: quote.UserData{1, 2, 3}},
		BodyType: body,
	}
	if version == quote.Version3 {
		q.Header.QESVN, q.Header.PCESVN = 11, 13
	}
	if body == quote.BodySGX {
		q.Enclave = &sgx.ReportBody{MREnclave: sgx.Measurement{4}, ISVSVN: 5, ReportData: sgx.ReportData{6}}
	} else {
		q.Header.TEE = quote.TDX
		q.TD = &tdx.ReportBody{MRTD: tdx.Measurement{7}, ReportData: sgx.ReportData{8}}
	}
	if body == quote.BodyTDX15 || body == quote.BodyTDX15Ex {
		q.TD.TDX15 = &tdx.ReportBody15{MRServiceTD: tdx.Measurement{9}}
	}
	if body == quote.BodyTDX15Ex {
		q.TD.TDX15.Ex = &tdx.ReportBody15Ex{TDID: tdx.TDID{10}}
	}
	q.Signature = quote.SignatureData{
		Signature: quote.Signature{10}, AttestationKey: quote.PublicKey{11},
		QEReport: sgx.ReportBody{ISVProdID: 1}, QEReportSignature: quote.Signature{12},
		QEAuthData:        []byte{0, 1, 2, 3},
		CertificationData: quote.CertificationData{Type: quote.PPIDClear, Data: make([]byte, 36)},
	}
	return q
}

var kinds = []struct {
	version quote.Version
	body    quote.BodyType
}{
	{quote.Version3, quote.BodySGX},
	{quote.Version4, quote.BodySGX},
	{quote.Version4, quote.BodyTDX10},
	{quote.Version5, quote.BodySGX},
	{quote.Version5, quote.BodyTDX10},
	{quote.Version5, quote.BodyTDX15},
	{quote.Version5, quote.BodyTDX15Ex},
}

func marshal(t testing.TB, q *quote.Quote) []byte {
	t.Helper()
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	for _, k := range kinds {
		data := marshal(t, sample(k.version, k.body))
		q, err := quote.Parse(data)
		if err != nil {
			t.Errorf("version %d, %s: %v", k.version, k.body, err)
			continue
		}
		if again := marshal(t, q); !bytes.Equal(data, again) {
			t.Errorf("version %d, %s: marshals to different bytes", k.version, k.body)
		}
		if q.ReportData() != sample(k.version, k.body).ReportData() {
			t.Errorf("version %d, %s: report data %s", k.version, k.body, q.ReportData())
		}
		if _, err := json.Marshal(q); err != nil {
			t.Errorf("version %d, %s: %v", k.version, k.body, err)
		}
	}
}

// A quote that is truncated anywhere is refused, with an offset inside the data.
func TestTruncatedAnywhere(t *testing.T) {
	for _, k := range kinds {
		data := marshal(t, sample(k.version, k.body))
		for n := range data {
			_, err := quote.Parse(data[:n])
			var format *quote.FormatError
			if !errors.As(err, &format) || !errors.Is(err, quote.ErrTruncated) || format.Offset > n || format.Field == "" {
				t.Fatalf("version %d, %s, first %d bytes: %v", k.version, k.body, n, err)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	put16 := func(at int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], v); return b }
	}
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	// Offsets in a version 3 quote.
	const (
		body, signatureLength = 48, 432
		qeReport              = 436 + 128
		authSize              = 436 + 576
		certType              = authSize + 2 + 4
		certSize              = certType + 2
		end                   = certSize + 4 + 36
	)
	v3, v4, v5 := kinds[0], kinds[2], kinds[5]
	for _, c := range []struct {
		name string
		kind struct {
			version quote.Version
			body    quote.BodyType
		}
		change func([]byte) []byte
		want   error
		field  string
		offset int
	}{
		{"version 2 (EPID)", v3, put16(0, 2), quote.ErrUnsupported, "version", 0},
		{"version 6", v3, put16(0, 6), quote.ErrUnsupported, "version", 0},
		{"P-384 key", v3, put16(2, 3), quote.ErrUnsupported, "attestation key type", 2},
		{"reserved in header", v3, put32(4, 0x8100), quote.ErrReserved, "reserved", 5},
		{"reserved in body", v3, func(b []byte) []byte { b[body+100] = 1; return b }, quote.ErrReserved, "report body", body + 100},
		{"reserved in QE report", v3, func(b []byte) []byte { b[qeReport+31] = 1; return b }, quote.ErrReserved, "QE report", qeReport + 31},
		{"signature data too long", v3, put32(signatureLength, 1<<31), quote.ErrTruncated, "signature data", 436},
		{"signature data of 4 GiB", v3, put32(signatureLength, 0xffffffff), quote.ErrTruncated, "signature data", 436},
		{"signature data too short", v3, put32(signatureLength, 600), quote.ErrTruncated, "certification data", certSize + 4},
		{"authentication data too long", v3, put16(authSize, 2000), quote.ErrLength, "QE authentication data size", authSize},
		{"certification data type 6", v3, put16(certType, 6), quote.ErrUnsupported, "certification data type", certType},
		{"certification data type 0", v3, put16(certType, 0), quote.ErrUnsupported, "certification data type", certType},
		{"certification data type 8", v3, put16(certType, 8), quote.ErrUnsupported, "certification data type", certType},
		{"authentication data a byte too long", v3, put16(authSize, quote.MaxQEAuthData+1), quote.ErrLength, "QE authentication data size", authSize},
		{"certification data a byte too long", v3, put32(certSize, quote.MaxCertificationData+1), quote.ErrLength, "certification data size", certSize},
		{"certification data of 4 GiB", v3, put32(certSize, 0xffffffff), quote.ErrLength, "certification data size", certSize},
		{"certification data too short", v3, put32(certSize, 35), quote.ErrTrailing, "signature data", end - 1},
		{"a byte after it", v3, func(b []byte) []byte { return append(b, 0) }, quote.ErrTrailing, "quote", end},
		{"TEE type", v4, put32(4, 1), quote.ErrUnsupported, "TEE type", 4},
		{"reserved since version 4", v4, put32(8, 1), quote.ErrReserved, "reserved", 8},
		{"outer certification data type", v4, put16(48+584+4+128, 5), quote.ErrUnsupported, "certification data type", 48 + 584 + 4 + 128},
		{"outer certification data too short", v4, put32(48+584+4+130, 100), quote.ErrTruncated, "QE report", 48 + 584 + 4 + 134},
		{"body type", v5, put16(48, 9), quote.ErrUnsupported, "body type", 48},
		{"body of the other TEE", v5, put16(48, 1), quote.ErrUnsupported, "body type", 48},
		{"trust domain in a quote for SGX", v5, put32(4, 0), quote.ErrUnsupported, "body type", 48},
		{"body size too small", v5, put32(50, 647), quote.ErrLength, "body size", 50},
		{"inner certification data too short", v4, put32(48+584+4+134+384+64+2+4+2, 35), quote.ErrTrailing, "QE report certification data", 48 + 584 + 4 + 134 + 384 + 64 + 2 + 4 + 2 + 4 + 35},
		{"body type 0", v5, put16(48, 0), quote.ErrUnsupported, "body type", 48},
		{"body type 5", v5, put16(48, 5), quote.ErrUnsupported, "body type", 48},
		{"body of another type of trust domain", v5, put16(48, 4), quote.ErrLength, "body size", 50},
		{"body size", v5, put32(50, 584), quote.ErrLength, "body size", 50},
	} {
		_, err := quote.Parse(c.change(marshal(t, sample(c.kind.version, c.kind.body))))
		var format *quote.FormatError
		if !errors.As(err, &format) || !errors.Is(err, c.want) || format.Field != c.field || format.Offset != c.offset {
			t.Errorf("%s: %v; want %q at %d in %s", c.name, err, c.want, c.offset, c.field)
		}
	}
}

// Zeros may follow a quote in a buffer of fixed size; nothing else may.
func TestParsePadded(t *testing.T) {
	for _, k := range kinds {
		data := marshal(t, sample(k.version, k.body))
		for _, c := range []struct {
			tail   []byte
			offset int // of what is refused; -1 for nothing
		}{{nil, -1}, {[]byte{0}, -1}, {make([]byte, 5000), -1}, {[]byte{1}, 0}, {[]byte{0, 0, 1}, 2}, {append(make([]byte, 5000), 0xff), 5000}, {data, 0}} {
			q, err := quote.ParsePadded(append(bytes.Clone(data), c.tail...))
			var format *quote.FormatError
			switch {
			case c.offset < 0:
				if err != nil || !bytes.Equal(marshal(t, q), data) {
					t.Errorf("version %d, %s, followed by %d zeros: %v", k.version, k.body, len(c.tail), err)
				}
			case !errors.As(err, &format) || !errors.Is(err, quote.ErrTrailing) || format.Offset != len(data)+c.offset:
				t.Errorf("version %d, %s, followed by %d bytes: %v", k.version, k.body, len(c.tail), err)
			}
		}
		if _, err := quote.ParsePadded(data[:len(data)-1]); !errors.Is(err, quote.ErrTruncated) {
			t.Errorf("version %d, %s, truncated: %v", k.version, k.body, err)
		}
	}
}

// Parts of the maximum length are accepted.
func TestLongestParts(t *testing.T) {
	q := sample(quote.Version3, quote.BodySGX)
	q.Signature.QEAuthData = make([]byte, quote.MaxQEAuthData)
	q.Signature.CertificationData = quote.CertificationData{Type: quote.PlatformManifest, Data: make([]byte, quote.MaxCertificationData)}
	if _, err := quote.Parse(marshal(t, q)); err != nil {
		t.Error(err)
	}
}

func TestMarshalRefusals(t *testing.T) {
	for name, change := range map[string]func(*quote.Quote){
		"no body":         func(q *quote.Quote) { q.Enclave = nil },
		"two bodies":      func(q *quote.Quote) { q.TD = &tdx.ReportBody{} },
		"other body type": func(q *quote.Quote) { q.BodyType = quote.BodyTDX10 },
		"unknown version": func(q *quote.Quote) { q.Header.Version = 9 },
		"other TEE":       func(q *quote.Quote) { q.Header.TEE = quote.TDX },
		"a trust domain in version 3": func(q *quote.Quote) {
			*q = *sample(quote.Version4, quote.BodyTDX10)
			q.Header.Version = quote.Version3
		},
		"TDX 1.5 in version 4": func(q *quote.Quote) {
			*q = *sample(quote.Version5, quote.BodyTDX15)
			q.Header.Version = quote.Version4
		},
		"unknown body type": func(q *quote.Quote) { *q = *sample(quote.Version5, quote.BodyTDX15); q.BodyType = 5 },
		"long auth data":    func(q *quote.Quote) { q.Signature.QEAuthData = make([]byte, quote.MaxQEAuthData+1) },
		"long cert data":    func(q *quote.Quote) { q.Signature.CertificationData.Data = make([]byte, quote.MaxCertificationData+1) },
	} {
		q := sample(quote.Version3, quote.BodySGX)
		change(q)
		if _, err := q.MarshalBinary(); err == nil {
			t.Errorf("%s: marshalled", name)
		}
	}
}

func TestPlatformID(t *testing.T) {
	for _, c := range []struct {
		t            quote.CertificationDataType
		ppid, length int
		pceID        bool
	}{
		{quote.PPIDClear, 16, 34, false},
		{quote.PPIDClear, 16, 36, true},
		{quote.PPIDRSA2048, 256, 274, false},
		{quote.PPIDRSA3072, 384, 404, true},
	} {
		data := bytes.Repeat([]byte{0xab}, c.length)
		binary.LittleEndian.PutUint16(data[c.ppid+16:], 13)
		id, err := quote.CertificationData{Type: c.t, Data: data}.PlatformID()
		if err != nil || len(id.PPID) != c.ppid || id.PCESVN != 13 || (id.PCEID != nil) != c.pceID {
			t.Errorf("%s of %d bytes: %+v, %v", c.t, c.length, id, err)
		}
	}
	for _, c := range []quote.CertificationData{
		{Type: quote.PPIDClear, Data: make([]byte, 35)},
		{Type: quote.PPIDRSA3072, Data: nil},
		{Type: quote.PCKChain, Data: make([]byte, 36)},
	} {
		if id, err := c.PlatformID(); err == nil {
			t.Errorf("%s of %d bytes: PlatformID() = %+v", c.Type, len(c.Data), id)
		}
	}
}

func TestCertificatesErrors(t *testing.T) {
	for _, c := range []struct {
		data quote.CertificationData
		want string
	}{
		{quote.CertificationData{Type: quote.PPIDClear}, "want a PCK certificate or its chain"},
		{quote.CertificationData{Type: quote.PCKChain}, "0 certificates, want 3"},
		{quote.CertificationData{Type: quote.PCKChain, Data: []byte("hello")}, "certificate 1: not complete PEM"},
		{quote.CertificationData{Type: quote.PCKLeaf, Data: []byte("junk\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, "certificate 1: not a PEM certificate"},
		{quote.CertificationData{Type: quote.PCKLeaf, Data: []byte("-----BEGIN CERTIFICATE-----\n!\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, "certificate 1: not a PEM certificate"},
		{quote.CertificationData{Type: quote.PCKLeaf, Data: []byte("-----BEGIN POTATO-----\nAAAA\n-----END POTATO-----\n")}, "certificate 1: not a PEM certificate"},
		{quote.CertificationData{Type: quote.PCKChain, Data: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n")}, "certificate 1: not complete PEM"},
		{quote.CertificationData{Type: quote.PCKLeaf, Data: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, "certificate 1: x509"},
	} {
		_, err := c.data.Certificates()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v; want %q", c.data.Type, c.data.Data, err, c.want)
		}
	}
}

func TestPublicKeyOffCurve(t *testing.T) {
	if _, err := (quote.PublicKey{1}).ECDSA(); err == nil {
		t.Error("ECDSA returned a key for a point off the curve")
	}
}

// vectors is the directory of genuine quotes beside the checkout.
const vectors = "../../shared/vectors"

func TestGenuineQuotes(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	for _, v := range []struct {
		file     string
		version  quote.Version
		body     quote.BodyType
		certData quote.CertificationDataType
		trailing int
	}{
		{"oasis/quote_v3_ecdsa_p256_pck_chain.bin", 3, quote.BodySGX, quote.PCKChain, 0},
		{"oasis/quote_v3_ecdsa_p256_eppid.bin", 3, quote.BodySGX, quote.PPIDRSA3072, 0},
		{"oasis/quote_v4_tdx_ecdsa_p256.bin", 4, quote.BodyTDX10, quote.PCKChain, 0},
		{"oasis/quote_v4_tdx_ecdsa_p256_out_of_date.bin", 4, quote.BodyTDX10, quote.PCKChain, 0},
		{"oasis/quote_v4_tdx_ecdsa_p256_trailing.bin", 4, quote.BodyTDX10, quote.PCKChain, 70},
		{"phala/sample__sgx_quote", 3, quote.BodySGX, quote.PCKChain, 0},
		{"phala/sample__tdx_quote", 4, quote.BodyTDX10, quote.PCKChain, 70},
		{"phala/sample__tdx_quote_outdated", 5, quote.BodyTDX15, quote.PCKChain, 0},
		{"phala/sample__tdx-quote.hex", 4, quote.BodyTDX10, quote.PCKChain, 70},
		{"phala/sample__quote-from-tappd.hex", 4, quote.BodyTDX10, quote.PCKChain, 70},
		{"intel-qvl/Src__AttestationApp__sampleData__quote.dat", 3, quote.BodySGX, quote.PPIDClear, 0},
		{"automata/quotev3.decoded.bin", 3, quote.BodySGX, quote.PCKChain, 0},
		{"automata/rust-crates__samples__quotev3.hex", 3, quote.BodySGX, quote.PCKChain, 0},
		{"automata/rust-crates__samples__quotev4.hex", 4, quote.BodyTDX10, quote.PCKChain, 3065},
		{"automata/rust-crates__samples__quotev5.dat", 5, quote.BodyTDX15, quote.PCKChain, 0},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", 3, quote.BodySGX, quote.PCKChain, 0},
	} {
		t.Run(v.file, func(t *testing.T) {
			data := readVector(t, v.file)
			q, rest, err := quote.ParsePrefix(data)
			if err != nil {
				t.Fatal(err)
			}
			if got := append(marshal(t, q), rest...); !bytes.Equal(got, data) {
				t.Error("marshals to different bytes")
			}
			if _, err := quote.Parse(data); errors.Is(err, quote.ErrTrailing) != (v.trailing > 0) {
				t.Errorf("%d trailing bytes: Parse: %v", v.trailing, err)
			}
			cd := q.Signature.CertificationData
			if q.Header.Version != v.version || q.BodyType != v.body || cd.Type != v.certData || len(rest) != v.trailing {
				t.Errorf("version %d, %s, %s, %d trailing bytes", q.Header.Version, q.BodyType, cd.Type, len(rest))
			}
			if q.Header.VendorID != quote.IntelVendorID() {
				t.Errorf("vendor %s", q.Header.VendorID)
			}
			if cd.Type != quote.PCKChain {
				if _, err := cd.PlatformID(); err != nil {
					t.Error(err)
				}
				return
			}
			chain, err := cd.Certificates()
			if err != nil {
				t.Fatal(err)
			}
			if got := chain[0].Subject.CommonName; got != "Intel SGX PCK Certificate" {
				t.Errorf("leaf: %q", got)
			}
			if got := chain[2].Subject.CommonName; got != "Intel SGX Root CA" {
				t.Errorf("root: %q", got)
			}
		})
	}
}

func readVector(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(name) != ".hex" {
		return data
	}
	data, err = hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(data)), "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzParse(f *testing.F) {
	for _, k := range kinds {
		f.Add(marshal(f, sample(k.version, k.body)))
	}
	chain := sample(quote.Version3, quote.BodySGX)
	chain.Signature.CertificationData = quote.CertificationData{Type: quote.PCKChain, Data: append(simulation.RootPEM(), 0)}
	f.Add(marshal(f, chain))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, rest, err := quote.ParsePrefix(data)
		if err != nil {
			var format *quote.FormatError
			if !errors.As(err, &format) {
				t.Fatalf("not a FormatError: %v", err)
			}
			return
		}
		again, err := q.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(again, rest...), data) {
			t.Fatal("marshals to different bytes")
		}
		// These must not panic.
		_, _ = q.Signature.CertificationData.Certificates()
		_, _ = q.Signature.CertificationData.PlatformID()
		_, _ = q.Signature.AttestationKey.ECDSA()
	})
}

// The numbers are those of Intel's headers.
func TestLayout(t *testing.T) {
	if quote.HeaderSize != 48 || quote.OffsetReportBody != 48 || quote.OffsetSignatureDataLen != 432 || quote.OffsetSignatureData != 436 {
		t.Error(quote.HeaderSize, quote.OffsetReportBody, quote.OffsetSignatureDataLen, quote.OffsetSignatureData)
	}
	for _, k := range kinds[:2] { // SGX quotes of versions 3 and 4
		q := sample(k.version, k.body)
		data := marshal(t, q)
		body, _ := q.Enclave.MarshalBinary()
		if n := binary.LittleEndian.Uint32(data[quote.OffsetSignatureDataLen:]); int(n) != len(data)-quote.OffsetSignatureData ||
			!bytes.Equal(data[quote.OffsetReportBody:quote.OffsetSignatureDataLen], body) ||
			!bytes.Equal(data[quote.OffsetSignatureData:][:64], q.Signature.Signature[:]) {
			t.Errorf("version %d: the constants do not match the quote", k.version)
		}
	}
}
