package quote

import (
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// MaxQEAuthData and MaxCertificationData bound the two parts of free length.
// Intel's QE writes 32 bytes of the one and at most 12,294 of the other.
const (
	MaxQEAuthData        = 1024
	MaxCertificationData = 48 << 10
)

// Parse reads a quote that fills data exactly.
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

// ParsePrefix reads the quote at the start of data and returns what follows it:
// some interfaces hand out quotes in buffers that are too large. The quote
// itself is read as strictly as by Parse.
func ParsePrefix(data []byte) (q *Quote, rest []byte, err error) {
	r := &reader{data: data}
	q = &Quote{Header: readHeader(r)}
	q.BodyType = readBodyType(r, q.Header)
	switch q.BodyType {
	case BodySGX:
		body := readEnclaveBody(r, "report body")
		q.Enclave = &body
	case BodyTDX10, BodyTDX15:
		q.TD = readTDReport(r, q.BodyType)
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
		r.fail("version", 0, fmt.Errorf("%w: %d; versions 3, 4 and 5 are", ErrUnsupported, h.Version))
	}
	if h.KeyType != KeyECDSAP256 {
		r.fail("attestation key type", 2, fmt.Errorf("%w: %d; 2 (ECDSA-P256) is", ErrUnsupported, h.KeyType))
	}
	r.fill("QE vendor ID", h.VendorID[:])
	r.fill("user data", h.UserData[:])
	return h
}

// readBodyType finds out what body follows, and passes over the descriptor of
// version 5.
func readBodyType(r *reader, h Header) BodyType {
	if r.err != nil {
		return 0
	}
	const teeOffset = 4
	if h.TEE != SGX && h.TEE != TDX {
		r.fail("TEE type", teeOffset, fmt.Errorf("%w: %#x; 0 (SGX) and 0x81 (TDX) are", ErrUnsupported, uint32(h.TEE)))
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
		r.fail("body type", offset, fmt.Errorf("%w: %d; types 1 to 3 are", ErrUnsupported, uint16(t)))
	case (t == BodySGX) != (h.TEE == SGX):
		r.fail("body type", offset, fmt.Errorf("%w: a body of type %d in a quote for %s", ErrUnsupported, uint16(t), h.TEE))
	case uint32(t.size()) != size:
		r.fail("body size", offset+2, fmt.Errorf("%w: %d; a body of type %d has %d", ErrLength, size, uint16(t), t.size()))
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

func readSignatureData(r *reader, v Version) SignatureData {
	var s SignatureData
	r.fill("signature", s.Signature[:])
	r.fill("attestation key", s.AttestationKey[:])
	if v == Version3 {
		readCertifiedQEReport(r, &s)
		return s
	}
	// Since version 4 the QE's report is itself certification data, of type 6.
	offset := r.offset
	if t := CertificationDataType(r.uint16("certification data type")); r.err == nil && t != QEReportCertificationData {
		r.fail("certification data type", offset, fmt.Errorf("%w: %d; version %d has 6 (QE report certification data)", ErrUnsupported, uint16(t), v))
	}
	inner := r.section("QE report certification data", r.uint32("certification data size"))
	readCertifiedQEReport(inner, &s)
	r.close(inner, "QE report certification data")
	return s
}

// readCertifiedQEReport reads the QE's report, its signature and what certifies
// the key of that.
func readCertifiedQEReport(r *reader, s *SignatureData) {
	s.QEReport = readEnclaveBody(r, "QE report")
	r.fill("QE report signature", s.QEReportSignature[:])
	offset := r.offset
	n := int(r.uint16("QE authentication data size"))
	if n > MaxQEAuthData {
		r.fail("QE authentication data size", offset, fmt.Errorf("%w: %d; at most %d", ErrLength, n, MaxQEAuthData))
	}
	s.QEAuthData = r.bytes("QE authentication data", n)

	offset = r.offset
	s.CertificationData.Type = CertificationDataType(r.uint16("certification data type"))
	if r.err == nil && !s.CertificationData.Type.innermost() {
		r.fail("certification data type", offset, fmt.Errorf("%w: %d; types 1 to 5 and 7 are", ErrUnsupported, uint16(s.CertificationData.Type)))
	}
	offset = r.offset
	size := r.uint32("certification data size")
	if size > MaxCertificationData {
		r.fail("certification data size", offset, fmt.Errorf("%w: %d; at most %d", ErrLength, size, MaxCertificationData))
		return
	}
	s.CertificationData.Data = r.bytes("certification data", int(size))
}
