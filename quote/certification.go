package quote

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/confcom/confcom/sgx"
)

// CertificationDataType is how a quote identifies the certificate of the platform's
// certification key (PCK, provisioning certification key).
type CertificationDataType uint16

// The types of sgx_ql_cert_key_type_t, and Intel's type for a platform manifest.
const (
	// PPIDClear is a PlatformID with the PPID (platform provisioning ID) in the clear.
	PPIDClear CertificationDataType = 1 // PPID in the clear
	// PPIDRSA2048 is a PlatformID with the PPID encrypted with RSA-2048-OAEP.
	PPIDRSA2048 CertificationDataType = 2 // PPID encrypted with RSA-2048
	// PPIDRSA3072 is a PlatformID with the PPID encrypted with RSA-3072-OAEP.
	PPIDRSA3072 CertificationDataType = 3 // PPID encrypted with RSA-3072
	// PCKLeaf is the PCK certificate in PEM.
	PCKLeaf CertificationDataType = 4 // PCK certificate
	// PCKChain is the PCK certificate and its chain in PEM.
	PCKChain CertificationDataType = 5 // PCK certificate chain
	// QEReportCertificationData exists since version 4: it is the QE report, its
	// signature and more certification data.
	QEReportCertificationData CertificationDataType = 6 // QE report certification data
	// PlatformManifest is the manifest of a platform with several processor packages.
	PlatformManifest CertificationDataType = 7 // platform manifest
)

// innermost reports whether data of this type can certify the PCK itself.
func (t CertificationDataType) innermost() bool {
	return t >= PPIDClear && t <= PCKChain || t == PlatformManifest
}

// MarshalText returns the text that String returns.
func (t CertificationDataType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// CertificationData is the part of a quote that certifies the PCK. No signature of
// the quote covers it.
type CertificationData struct {
	Type CertificationDataType `json:"type"`
	Data HexBytes              `json:"data"`
}

// Certificates returns the certificates of types PCKLeaf (exactly one) and PCKChain
// (exactly three). Those of a chain may be in any order in the quote; the result is the leaf,
// its issuer, and the root. If their names do not make a chain, it is in the order of the quote.
// Only white space and the NUL of a C string may follow them. For other types the error wraps
// ErrUnsupported.
func (c CertificationData) Certificates() ([]*x509.Certificate, error) {
	want := map[CertificationDataType]int{PCKLeaf: 1, PCKChain: 3}[c.Type]
	if want == 0 {
		return nil, fmt.Errorf("quote: certification data: %w: %s, want a PCK certificate or its chain", ErrUnsupported, c.Type)
	}
	certificates, err := ParseCertificates(c.Data)
	if err != nil {
		return nil, fmt.Errorf("quote: certification data: %w", err)
	}
	if len(certificates) != want {
		return nil, fmt.Errorf("quote: certification data: %d certificates, want %d", len(certificates), want)
	}
	return sortChain(certificates), nil
}

// sortChain returns certificates in the order in which each is issued by the next one and the
// last one by itself, according to their names. If there is no such order, it returns them as
// they are.
func sortChain(certificates []*x509.Certificate) []*x509.Certificate {
	for _, leaf := range certificates {
		chain := []*x509.Certificate{leaf}
		for last := leaf; len(chain) < len(certificates); {
			next := slices.IndexFunc(certificates, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.Contains(chain, c)
			})
			if next < 0 {
				break
			}
			last = certificates[next]
			chain = append(chain, last)
		}
		root := chain[len(chain)-1]
		if len(chain) == len(certificates) && bytes.Equal(root.RawSubject, root.RawIssuer) {
			return chain
		}
	}
	return certificates
}

// ParseCertificates reads certificates in PEM, as quotes and collateral carry them.
// Only white space may be between them, and white space and NULs after them.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	rest := bytes.TrimRight(text, "\x00 \t\r\n")
	for len(rest) > 0 {
		number := len(certificates) + 1
		der, next, ok := cutPlain(rest)
		if !ok {
			var block *pem.Block
			if block, next = pem.Decode(rest); block == nil {
				return nil, fmt.Errorf("certificate %d: not complete PEM", number)
			}
			// Decode skips what it does not understand; here that is an error.
			text := rest[:len(rest)-len(next)]
			if !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----")) || bytes.Count(text, []byte("-----BEGIN")) != 1 || len(block.Headers) > 0 {
				return nil, fmt.Errorf("certificate %d: not a PEM certificate", number)
			}
			der = block.Bytes
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", number, err)
		}
		certificates = append(certificates, certificate)
		rest = bytes.TrimLeft(next, " \t\r\n")
	}
	return certificates, nil
}

// cutPlain decodes the certificate at the start of a text and returns what follows its last line, as
// pem.Decode does, if it is written in the usual way. It is faster, as it need not search for what
// may be in between.
func cutPlain(text []byte) (der, rest []byte, ok bool) {
	body, ok := bytes.CutPrefix(text, []byte("-----BEGIN CERTIFICATE-----\n"))
	if !ok {
		return nil, nil, false
	}
	body, rest, ok = bytes.Cut(body, []byte("\n-----END CERTIFICATE-----"))
	// Headers have colons, and other blocks have hyphens.
	if !ok || len(body) == 0 || bytes.IndexByte(body, ':') >= 0 || bytes.IndexByte(body, '-') >= 0 {
		return nil, nil, false
	}
	if len(rest) > 0 && rest[0] != '\n' {
		return nil, nil, false
	}
	der = make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Decode(der, body)
	if err != nil {
		return nil, nil, false
	}
	return der[:n], bytes.TrimPrefix(rest, []byte("\n")), true
}

// PlatformID identifies a platform well enough to request its PCK certificate from
// Intel's service.
type PlatformID struct {
	PPID   []byte // 16 bytes in the clear; 256 or 384 bytes encrypted
	CPUSVN sgx.CPUSVN
	PCESVN uint16
	// PCEID is nil if the quote does not have it.
	PCEID *uint16
}

// PlatformID returns the platform's identifiers, which types PPIDClear, PPIDRSA2048
// and PPIDRSA3072 have. For other types the error wraps ErrUnsupported.
func (c CertificationData) PlatformID() (PlatformID, error) {
	ppid := map[CertificationDataType]int{PPIDClear: 16, PPIDRSA2048: 256, PPIDRSA3072: 384}[c.Type]
	if ppid == 0 {
		return PlatformID{}, fmt.Errorf("quote: certification data: %w: %s, want a PPID", ErrUnsupported, c.Type)
	}
	const withoutPCEID = 16 + 2 // CPUSVN and PCE SVN
	n := len(c.Data) - ppid
	if n != withoutPCEID && n != withoutPCEID+2 {
		return PlatformID{}, fmt.Errorf("quote: certification data: %w: %d bytes, %s", ErrLength, len(c.Data), c.Type)
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

// NewPCKChain returns certification data of type PCKChain: the certificates in PEM,
// followed by a NUL as Intel's library writes it.
func NewPCKChain(leaf, intermediate, root *x509.Certificate) CertificationData {
	var data []byte
	for _, c := range []*x509.Certificate{leaf, intermediate, root} {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return CertificationData{Type: PCKChain, Data: append(data, 0)}
}
