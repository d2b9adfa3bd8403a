package quote

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MarshalBinary returns the bytes of the quote. It fails if the version is unknown, if
// the body matches neither BodyType nor the TEE, and if a part is too long: Parse would
// refuse such a quote. Reserved bytes are written as they are.
func (q *Quote) MarshalBinary() ([]byte, error) {
	p, err := q.SignedBytes()
	if err != nil {
		return nil, err
	}
	signature, err := q.Signature.append(nil, q.Header.Version)
	if err != nil {
		return nil, err
	}
	p = binary.LittleEndian.AppendUint32(p, uint32(len(signature)))
	return append(p, signature...), nil
}

// SignedBytes returns the part of the quote that the attestation key signs: header and
// body, without the signature data length.
func (q *Quote) SignedBytes() ([]byte, error) {
	if v := q.Header.Version; v < Version3 || v > Version5 {
		return nil, fmt.Errorf("quote: marshal: %w: version %d", ErrUnsupported, v)
	}
	if (q.BodyType == BodySGX) != (q.Header.TEE == SGX) {
		return nil, fmt.Errorf("quote: marshal: body type %s in a quote for %s", q.BodyType, q.Header.TEE)
	}
	if q.BodyType > q.Header.Version.newestBody() {
		return nil, fmt.Errorf("quote: marshal: %w: body type %s in a quote of version %d", ErrUnsupported, q.BodyType, q.Header.Version)
	}
	p := q.Header.append(nil)
	if q.Header.Version == Version5 {
		p = binary.LittleEndian.AppendUint16(p, uint16(q.BodyType))
		p = binary.LittleEndian.AppendUint32(p, uint32(q.BodyType.size()))
	}
	start := len(p)
	switch {
	case q.Enclave != nil && q.TD == nil:
		p, _ = q.Enclave.AppendBinary(p)
	case q.TD != nil && q.Enclave == nil:
		p, _ = q.TD.AppendBinary(p)
	default:
		return nil, errors.New("quote: marshal: exactly one of Enclave and TD must be set")
	}
	if size := len(p) - start; size != q.BodyType.size() {
		return nil, fmt.Errorf("quote: marshal: body has %d bytes, want %d for %s", size, q.BodyType.size(), q.BodyType)
	}
	return p, nil
}

func (h Header) append(p []byte) []byte {
	p = binary.LittleEndian.AppendUint16(p, uint16(h.Version))
	p = binary.LittleEndian.AppendUint16(p, uint16(h.KeyType))
	p = binary.LittleEndian.AppendUint32(p, uint32(h.TEE))
	p = binary.LittleEndian.AppendUint16(p, h.QESVN)
	p = binary.LittleEndian.AppendUint16(p, h.PCESVN)
	p = append(p, h.VendorID[:]...)
	return append(p, h.UserData[:]...)
}

func (s *SignatureData) append(p []byte, v Version) ([]byte, error) {
	if len(s.QEAuthData) > MaxQEAuthData {
		return nil, fmt.Errorf("quote: marshal: %d bytes of QE authentication data, want at most %d", len(s.QEAuthData), MaxQEAuthData)
	}
	if len(s.CertificationData.Data) > MaxCertificationData {
		return nil, fmt.Errorf("quote: marshal: %d bytes of certification data, want at most %d", len(s.CertificationData.Data), MaxCertificationData)
	}
	p = append(p, s.Signature[:]...)
	p = append(p, s.AttestationKey[:]...)
	if v == Version3 {
		return s.appendCertifiedQEReport(p), nil
	}
	inner := s.appendCertifiedQEReport(nil)
	p = binary.LittleEndian.AppendUint16(p, uint16(QEReportCertificationData))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(inner)))
	return append(p, inner...), nil
}

func (s *SignatureData) appendCertifiedQEReport(p []byte) []byte {
	p, _ = s.QEReport.AppendBinary(p)
	p = append(p, s.QEReportSignature[:]...)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(s.QEAuthData)))
	p = append(p, s.QEAuthData...)
	p = binary.LittleEndian.AppendUint16(p, uint16(s.CertificationData.Type))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(s.CertificationData.Data)))
	return append(p, s.CertificationData.Data...)
}
