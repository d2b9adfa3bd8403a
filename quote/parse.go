package quote

import (
	"fmt"
	"slices"

	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// MaxQEAuthData and MaxCertificationData are the maximum lengths in bytes of the two
// parts of variable length. Intel's QE writes 32 bytes of the first and at most 12,294
// of the second.
const (
	MaxQEAuthData        = 1024
	MaxCertificationData = 48 << 10
)

// Parse reads a quote, which must be all of data. Its error is a *FormatError.
func Parse(data []byte) (*Quote, error) {
	q, rest, err := ParsePrefix(data)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, &FormatError{Field: "quote", Offset: len(data) - len(rest), Err: fmt.Errorf("%w: %d", ErrTrailing, len(rest))}
	}
	return q, nil
}

// ParsePadded reads a quote that may be followed by zeros: quotes of trust domains often
// come in buffers of a fixed size. Its error is a *FormatError.
func ParsePadded(data []byte) (*Quote, error) {
	q, rest, err := ParsePrefix(data)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(rest, func(b byte) bool { return b != 0 }); i >= 0 {
		return nil, &FormatError{Field: "quote", Offset: len(data) - len(rest) + i, Err: fmt.Errorf("%w, and they are not zero: %d", ErrTrailing, len(rest))}
	}
	return q, nil
}

// ParsePrefix reads the quote at the start of data and returns the bytes after it:
// some interfaces return quotes in buffers that are larger. It reads the quote itself
// as strictly as Parse does.
func ParsePrefix(data []byte) (q *Quote, rest []byte, err error) {
	r := &reader{data: data}
	q = &Quote{Header: readHeader(r)}
	q.BodyType = readBodyType(r, q.Header)
	switch q.BodyType {
	case BodySGX:
		body := readEnclaveBody(r, "report body")
		q.Enclave = &body
	case BodyTDX10, BodyTDX15, BodyTDX15Ex:
		q.TD = readTDBody(r, "report body", q.BodyType)
	}
	signature := r.section("signature data", r.uint32("signature data length"))
	q.Signature = readSignatureData(signature, q.Header.Version)
	r.close(signature, "signature data")
	if r.err != nil {
		return nil, nil, r.err
	}
	return q, r.data, nil
}

func readHeader(r *reader) Header {
	var h Header
	h.Version = Version(r.uint16("version"))
	h.KeyType = AttestationKeyType(r.uint16("attestation key type"))
	if r.err != nil {
		return h
	}
	switch h.Version {
	case Version3:
		r.zero("reserved", 4)
		h.QESVN = r.uint16("QE SVN")
		h.PCESVN = r.uint16("PCE SVN")
	case Version4, Version5:
		h.TEE = TEE(r.uint32("TEE type"))
		r.zero("reserved", 4)
	default:
		r.fail("version", 0, fmt.Errorf("%w: %d, want 3, 4 or 5", ErrUnsupported, h.Version))
	}
	if h.KeyType != KeyECDSAP256 {
		r.fail("attestation key type", 2, fmt.Errorf("%w: %d, want 2 (ECDSA-P256)", ErrUnsupported, h.KeyType))
	}
	r.fill("QE vendor ID", h.VendorID[:])
	r.fill("user data", h.UserData[:])
	return h
}

// readBodyType returns the type of the body that follows. In version 5 it reads the
// body descriptor for that.
func readBodyType(r *reader, h Header) BodyType {
	if r.err != nil {
		return 0
	}
	const teeOffset = 4
	if h.TEE != SGX && h.TEE != TDX {
		r.fail("TEE type", teeOffset, fmt.Errorf("%w: %#x, want 0 (SGX) or 0x81 (TDX)", ErrUnsupported, uint32(h.TEE)))
		return 0
	}
	if h.Version != Version5 {
		if h.TEE == TDX {
			return BodyTDX10
		}
		return BodySGX
	}
	offset := r.offset
	t := BodyType(r.uint16("body type"))
	size := r.uint32("body size")
	switch {
	case r.err != nil:
	case t.size() == 0:
		r.fail("body type", offset, fmt.Errorf("%w: %d, want 1 to 4", ErrUnsupported, uint16(t)))
	case (t == BodySGX) != (h.TEE == SGX):
		r.fail("body type", offset, fmt.Errorf("%w: type %d in a quote for %s", ErrUnsupported, uint16(t), h.TEE))
	case uint32(t.size()) != size:
		r.fail("body size", offset+2, fmt.Errorf("%w: %d, want %[3]d for type %[4]d", ErrLength, size, t.size(), uint16(t)))
	}
	return t
}

func readEnclaveBody(r *reader, field string) sgx.ReportBody {
	offset := r.offset
	var body sgx.ReportBody
	b := r.next(field, sgx.ReportBodySize)
	if b == nil {
		return body
	}
	if err := body.UnmarshalBinary(b); err != nil {
		r.fail(field, offset, err)
	}
	if i, set := body.Reserved(); set {
		r.fail(field, offset+i, ErrReserved)
	}
	return body
}

func readTDBody(r *reader, field string, t BodyType) *tdx.ReportBody {
	offset := r.offset
	b := r.next(field, t.size())
	if b == nil {
		return nil
	}
	body := new(tdx.ReportBody)
	if err := body.UnmarshalBinary(b); err != nil {
		r.fail(field, offset, err)
	}
	return body
}

func readSignatureData(r *reader, v Version) SignatureData {
	var s SignatureData
	r.fill("signature", s.Signature[:])
	r.fill("attestation key", s.AttestationKey[:])
	if v == Version3 {
		readCertifiedQEReport(r, &s)
		return s
	}
	// Since version 4 the QE report is itself certification data, of type 6.
	offset := r.offset
	if t := CertificationDataType(r.uint16("certification data type")); r.err == nil && t != QEReportCertificationData {
		r.fail("certification data type", offset, fmt.Errorf("%w: %d, want 6 (QE report certification data)", ErrUnsupported, uint16(t)))
	}
	inner := r.section("QE report certification data", r.uint32("certification data size"))
	readCertifiedQEReport(inner, &s)
	r.close(inner, "QE report certification data")
	return s
}

// readCertifiedQEReport reads the QE report, its signature, the QE authentication data
// and the certification data.
func readCertifiedQEReport(r *reader, s *SignatureData) {
	s.QEReport = readEnclaveBody(r, "QE report")
	r.fill("QE report signature", s.QEReportSignature[:])
	offset := r.offset
	n := int(r.uint16("QE authentication data size"))
	if n > MaxQEAuthData {
		r.fail("QE authentication data size", offset, fmt.Errorf("%w: %d, want at most %d", ErrLength, n, MaxQEAuthData))
	}
	s.QEAuthData = r.bytes("QE authentication data", n)

	offset = r.offset
	s.CertificationData.Type = CertificationDataType(r.uint16("certification data type"))
	if r.err == nil && !s.CertificationData.Type.innermost() {
		r.fail("certification data type", offset, fmt.Errorf("%w: %d, want 1 to 5 or 7", ErrUnsupported, uint16(s.CertificationData.Type)))
	}
	offset = r.offset
	size := r.uint32("certification data size")
	if size > MaxCertificationData {
		r.fail("certification data size", offset, fmt.Errorf("%w: %d, want at most %d", ErrLength, size, MaxCertificationData))
		return
	}
	s.CertificationData.Data = r.bytes("certification data", int(size))
}
