package quote

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// CertificationDataType says how a quote leads to the certificate of the
// platform's certification key (PCK).
type CertificationDataType uint16

// The types of sgx_ql_cert_key_type_t, and Intel's type for a platform manifest.
const (
	PPIDClear                 CertificationDataType = 1 // PPID, CPUSVN, PCE SVN
	PPIDRSA2048               CertificationDataType = 2 // the same, PPID encrypted with RSA-2048-OAEP
	PPIDRSA3072               CertificationDataType = 3 // the same, PPID encrypted with RSA-3072-OAEP
	PCKLeaf                   CertificationDataType = 4 // the PCK certificate, PEM
	PCKChain                  CertificationDataType = 5 // the PCK certificate and its chain, PEM
	QEReportCertificationData CertificationDataType = 6 // since version 4: QE report, signature and more certification data
	PlatformManifest          CertificationDataType = 7
)

// innermost tells whether data of this type may certify the PCK itself.
func (t CertificationDataType) innermost() bool {
	return t >= PPIDClear && t <= PCKChain || t == PlatformManifest
}

func (t CertificationDataType) String() string {
	switch t {
	case PPIDClear:
		return "PPID in the clear"
	case PPIDRSA2048:
		return "PPID encrypted with RSA-2048"
	case PPIDRSA3072:
		return "PPID encrypted with RSA-3072"
	case PCKLeaf:
		return "PCK certificate"
	case PCKChain:
		return "PCK certificate chain"
	case QEReportCertificationData:
		return "QE report certification data"
	case PlatformManifest:
		return "platform manifest"
	}
	return fmt.Sprintf("unknown (%d)", uint16(t))
}

// MarshalText returns what String does.
func (t CertificationDataType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// CertificationData is what certifies the PCK. No signature of the quote covers
// it.
type CertificationData struct {
	Type CertificationDataType `json:"type"`
	Data HexBytes              `json:"data"`
}

// Certificates returns the certificates of types PCKLeaf (one) and PCKChain
// (exactly three: leaf, intermediate, root, in the order of the quote). What
// may follow them is white space and the NUL of a C string.
func (c CertificationData) Certificates() ([]*x509.Certificate, error) {
	want := map[CertificationDataType]int{PCKLeaf: 1, PCKChain: 3}[c.Type]
	if want == 0 {
		return nil, fmt.Errorf("quote: certification data is a %s, not certificates: %w", c.Type, ErrUnsupported)
	}
	certificates, err := ParseCertificates(c.Data)
	if err != nil {
		return nil, fmt.Errorf("quote: certification data: %w", err)
	}
	if len(certificates) != want {
		return nil, fmt.Errorf("quote: certification data: %d certificates, not %d", len(certificates), want)
	}
	return certificates, nil
}

// ParseCertificates reads certificates in PEM, as quotes and collateral carry them.
// Nothing may stand between them but white space, and behind them, that and the NUL
// of a C string.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	rest := bytes.TrimRight(text, "\x00 \t\r\n")
	for len(rest) > 0 {
		number := len(certificates) + 1
		block, next := pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("certificate %d is not complete PEM", number)
		}
		// Decode passes over what it does not understand; nothing may be passed
		// over here.
		text := rest[:len(rest)-len(next)]
		if !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----")) || bytes.Count(text, []byte("-----BEGIN")) != 1 || len(block.Headers) > 0 {
			return nil, fmt.Errorf("no PEM certificate where number %d should start", number)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", number, err)
		}
		certificates = append(certificates, certificate)
		rest = bytes.TrimLeft(next, " \t\r\n")
	}
	return certificates, nil
}

// PlatformID is what types PPIDClear, PPIDRSA2048 and PPIDRSA3072 say of the
// platform: enough to ask Intel's service for its PCK certificate.
type PlatformID struct {
	PPID   []byte // 16 bytes in the clear, 256 or 384 encrypted
	CPUSVN sgx.CPUSVN
	PCESVN uint16
	// PCEID is nil where the quote leaves it out.
	PCEID *uint16
}

// PlatformID returns the platform's identifiers, which types PPIDClear,
// PPIDRSA2048 and PPIDRSA3072 hold.
func (c CertificationData) PlatformID() (PlatformID, error) {
	ppid := map[CertificationDataType]int{PPIDClear: 16, PPIDRSA2048: 256, PPIDRSA3072: 384}[c.Type]
	if ppid == 0 {
		return PlatformID{}, fmt.Errorf("quote: certification data is a %s, not a PPID: %w", c.Type, ErrUnsupported)
	}
	const withoutPCEID = 16 + 2 // CPUSVN and PCE SVN
	n := len(c.Data) - ppid
	if n != withoutPCEID && n != withoutPCEID+2 {
		return PlatformID{}, fmt.Errorf("quote: certification data: %w: %d bytes for a %s", ErrLength, len(c.Data), c.Type)
	}
	id := PlatformID{PPID: bytes.Clone(c.Data[:ppid])}
	rest := c.Data[ppid:]
	copy(id.CPUSVN[:], rest)
	id.PCESVN = binary.LittleEndian.Uint16(rest[16:])
	if n > withoutPCEID {
		pceID := binary.LittleEndian.Uint16(rest[18:])
		id.PCEID = &pceID
	}
	return id, nil
}

// NewPCKChain returns certification data of type PCKChain: the certificates in
// PEM, with the NUL at the end that Intel's library writes.
func NewPCKChain(leaf, intermediate, root *x509.Certificate) CertificationData {
	var data []byte
	for _, c := range []*x509.Certificate{leaf, intermediate, root} {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return CertificationData{Type: PCKChain, Data: append(data, 0)}
}
