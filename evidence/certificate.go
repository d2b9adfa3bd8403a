package evidence

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
)

// extension is an X.509 extension with a quote in it.
type extension struct {
	oid   string
	parse func(value []byte, layers int) (*Evidence, error)
	// legacy is set if a certificate may have this extension beside the tagged evidence, for
	// verifiers that do not know that: Gramine since 1.8, and the Intel SGX SDK since 2.22.
	legacy bool
}

// The extensions that are read.
const (
	oidTaggedEvidence  = "2.23.133.5.4.9"
	oidEndorsements    = "2.23.133.5.4.2"
	oidIntelSGX        = "1.2.840.113741.1.13.1"
	oidDstackQuote     = "1.3.6.1.4.1.62397.1.1"
	oidDstackEventLog  = "1.3.6.1.4.1.62397.1.2"
	oidDstackVersioned = "1.3.6.1.4.1.62397.1.8"
)

func extensions() []extension {
	return []extension{
		// Interoperable RA-TLS of the Confidential Computing Consortium, and the
		// ConceptualMessageWrapper of the TCG's DICE Attestation Architecture: Gramine, Intel,
		// rats-tls.
		{oid: oidTaggedEvidence, parse: parseWrapped},
		// RFC 9999, section 4.4: id-pe-cmw.
		{oid: "1.3.6.1.5.5.7.1.35", parse: parseWrapped},
		// Open Enclave and EGo: X509_OID_FOR_QUOTE, _NEW_QUOTE, _OE_EVIDENCE and
		// _NEW_OE_EVIDENCE of openenclave/internal/{report,evidence}.h.
		{oid: "1.2.840.113556.10.1.1", parse: parseOpenEnclaveExtension},
		{oid: "1.3.6.1.4.1.311.105.1", parse: parseOpenEnclaveExtension},
		{oid: "1.2.840.113556.10.1.2", parse: parseOpenEnclaveExtension},
		{oid: "1.3.6.1.4.1.311.105.2", parse: parseOpenEnclaveExtension},
		// Gramine: NON_STANDARD_INTEL_SGX_QUOTE_OID of tools/sgx/ra-tls/ra_tls.h. Certificates
		// have tag and length of the OID in the OID.
		{oid: "1.2.840.113741.1337.6", parse: parseGramineExtension, legacy: true},
		{oid: "0.6.9.42.840.113741.1337.6", parse: parseGramineExtension, legacy: true},
		// The Intel SGX SDK. PCK certificates have their SGX extension under the same OID.
		{oid: oidIntelSGX, parse: parseIntelExtension, legacy: true},
		// dstack: ra-tls/src/oids.rs.
		{oid: oidDstackQuote, parse: parseDstackExtension},
	}
}

// IsExtension reports whether Parse reads the extension of certificates with this OID: it has a
// quote, or what belongs to one.
func IsExtension(oid asn1.ObjectIdentifier) bool {
	name := oid.String()
	return name == oidEndorsements || name == oidDstackEventLog ||
		slices.ContainsFunc(extensions(), func(x extension) bool { return x.oid == name })
}

// isDER reports whether data starts with a DER sequence of 128 bytes or more.
func isDER(data []byte) bool {
	return len(data) >= 4 && data[0] == 0x30 && data[1] > 0x80 && data[1] <= 0x84
}

// parseDER reads a certificate with a quote in one of its extensions (RA-TLS). It does not
// verify the signature of the certificate.
func parseDER(data []byte, layers int) (*Evidence, error) {
	certificate, err := readCertificate(data)
	if err != nil {
		return nil, err
	}
	return parseRead(certificate, layers)
}

// parseRead is parseDER for a certificate that has been read.
func parseRead(certificate *x509.Certificate, layers int) (*Evidence, error) {
	e, err := parseCertificate(certificate, layers)
	return in(FormCertificate, e, err, Attachment{Kind: PublicKey, Data: bytes.Clone(certificate.RawSubjectPublicKeyInfo)})
}

func readCertificate(data []byte) (*x509.Certificate, error) {
	var whole asn1.RawValue
	rest, err := asn1.Unmarshal(data, &whole)
	if err != nil {
		return nil, looksLike(fmt.Sprintf("a damaged certificate (%v)", err), "is the end missing?")
	}
	if err := checkPadding(rest, len(data)-len(rest), "certificate"); err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(whole.FullBytes)
	if err != nil {
		return nil, describeDER(whole.FullBytes, err)
	}
	return certificate, nil
}

func parseCertificate(certificate *x509.Certificate, layers int) (*Evidence, error) {
	values := make(map[string][]byte) // ParseCertificate refuses two extensions with one OID
	for _, e := range certificate.Extensions {
		values[e.Id.String()] = e.Value
	}
	var (
		found       *Evidence
		where       extension
		attachments []Attachment
	)
	for _, x := range extensions() { // tagged evidence first
		value, has := values[x.oid]
		if !has || x.oid == oidIntelSGX && !isQuote(value) { // the SGX extension of a PCK certificate
			continue
		}
		e, err := x.parse(value, layers)
		switch {
		case err != nil:
			return nil, err
		case found == nil:
			found, where = e, x
		case where.oid == oidTaggedEvidence && x.legacy:
			// Gramine and the SDK look for tagged evidence first as well.
			if !bytes.Equal(e.Quote, found.Quote) {
				attachments = append(attachments, Attachment{Kind: LegacyQuote, Data: e.Quote})
			}
		default:
			return nil, fmt.Errorf("%w: two quotes, in extensions %s and %s", ErrAmbiguous, where.oid, x.oid)
		}
	}
	if found == nil {
		return nil, describeCertificate(certificate, values)
	}
	if value, has := values[oidEndorsements]; has {
		attachments = append(attachments, Attachment{Kind: Endorsements, Data: bytes.Clone(value)})
	}
	if value, has := values[oidDstackEventLog]; has && where.oid == oidDstackQuote {
		log, err := octetString(value)
		if err != nil {
			return nil, fmt.Errorf("%w: event log: %w", ErrMalformed, err)
		}
		attachments = append(attachments, Attachment{Kind: EventLog, Data: bytes.Clone(log)})
	}
	return found.with(attachments...), nil
}

// parseWrapped reads the value of the extensions for conceptual messages: in RFC 9999 a
// CHOICE of a UTF8String with JSON and an OCTET STRING with CBOR; in Interoperable RA-TLS the
// CBOR itself.
func parseWrapped(value []byte, layers int) (*Evidence, error) {
	if isCBOR(value) {
		return parseCBOR(value, layers)
	}
	var choice asn1.RawValue
	rest, err := asn1.Unmarshal(value, &choice)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: extension with a conceptual message: %w", ErrMalformed, err)
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: %d bytes after the conceptual message in its extension", ErrTrailing, len(rest))
	case choice.Class == asn1.ClassUniversal && choice.Tag == asn1.TagUTF8String && isJSON(choice.Bytes):
		return parseJSON(bytes.TrimSpace(choice.Bytes), layers)
	case choice.Class == asn1.ClassUniversal && choice.Tag == asn1.TagOctetString && isCBOR(choice.Bytes):
		return parseCBOR(choice.Bytes, layers)
	}
	return nil, fmt.Errorf("%w: extension with a conceptual message: neither JSON in a UTF8String nor CBOR in an OCTET STRING", ErrMalformed)
}

func isJSON(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && (text[0] == '[' || text[0] == '{')
}

func parseOpenEnclaveExtension(value []byte, _ int) (*Evidence, error) {
	switch {
	case isOpenEnclaveReport(value):
		return parseOpenEnclaveReport(value)
	case isOpenEnclaveEvidence(value):
		return parseOpenEnclaveEvidence(value)
	}
	return nil, fmt.Errorf("%w: extension of Open Enclave without a report or evidence", ErrMalformed)
}

func parseGramineExtension(value []byte, _ int) (*Evidence, error) {
	e, err := expectQuote(value)
	return in(FormExtensionGramine, e, err)
}

func parseIntelExtension(value []byte, _ int) (*Evidence, error) {
	e, err := expectQuote(value)
	return in(FormExtensionIntel, e, err)
}

func parseDstackExtension(value []byte, _ int) (*Evidence, error) {
	data, err := octetString(value)
	if err != nil {
		return nil, locate(malformed(err), FormExtensionDstack)
	}
	e, err := expectQuote(data)
	return in(FormExtensionDstack, e, err)
}

// octetString returns the bytes of a DER OCTET STRING.
func octetString(value []byte) ([]byte, error) {
	var data []byte
	rest, err := asn1.Unmarshal(value, &data)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the OCTET STRING", len(rest))
	}
	return data, nil
}
