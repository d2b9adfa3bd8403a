package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// The sizes in bytes of a chain that Intel's quoting library puts into a quote:
// MIN_CERT_DATA_SIZE and MAX_CERT_DATA_SIZE of qe_logic.cpp.
const (
	minChain = 500
	maxChain = 12294
)

// chainLength is the number of certificates in a chain: the PCK certificate, its
// issuer and the root.
const chainLength = 3

// pemBegin is what a chain begins with.
const pemBegin = "-----BEGIN CERTIFICATE-----"

// Check checks that data is what a provider must return: a chain of exactly three
// certificates with nothing before, between or after them, for the TCB that its PCK
// certificate names. It does not check whose root it is, nor whether a certificate has
// expired: that is for verifiers.
//
// Providers do return other things and report success: the answer of a service that
// is none, or one that follows the text of an earlier answer.
func (d Data) Check() error {
	if n := len(d.Chain); n < minChain || n > maxChain {
		return fmt.Errorf("the certificates take %d bytes, want %d to %d", n, minChain, maxChain)
	}
	chain, err := parseChain(d.Chain)
	if err != nil {
		return err
	}
	for i, c := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		if err := c.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("certificate %d of %d (%.100q) is not signed by the next one (%.100q): %w", i+1, len(chain), c.Subject.CommonName, issuer.Subject.CommonName, err)
		}
	}
	cpuSVN, pceSVN, err := TCB(chain[0])
	if err != nil {
		return err
	}
	if cpuSVN != d.CPUSVN || pceSVN != d.PCESVN {
		return fmt.Errorf("the provider names the TCB %x with PCE %d, but the PCK certificate is for %x with PCE %d", d.CPUSVN, d.PCESVN, cpuSVN, pceSVN)
	}
	return nil
}

// PCK returns the PCK certificate.
func (d Data) PCK() (*x509.Certificate, error) {
	chain, err := parseChain(d.Chain)
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}

// CheckKept checks that the PCK certificate has the key of the one that is kept, where both
// are for one TCB: a platform has one key for each.
func (d Data) CheckKept(kept Data) error {
	if d.CPUSVN != kept.CPUSVN || d.PCESVN != kept.PCESVN {
		return nil
	}
	chain, err := parseChain(d.Chain)
	if err != nil {
		return err
	}
	last, err := parseChain(kept.Chain)
	if err != nil {
		return fmt.Errorf("read the certificates that are kept: %w", err)
	}
	if !bytes.Equal(chain[0].RawSubjectPublicKeyInfo, last[0].RawSubjectPublicKeyInfo) {
		return errors.New("the PCK certificate has another key than the one that is kept: it is of another platform, or from before a factory reset of SGX")
	}
	return nil
}

// parseChain reads a chain, which may end with white space and NULs.
func parseChain(text []byte) (chain []*x509.Certificate, err error) {
	rest := bytes.TrimRight(text, "\x00\r\n\t ")
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte(pemBegin)) {
			return nil, fmt.Errorf("%q where a certificate should begin, after %d certificates", rest[:min(len(rest), 40)], len(chain))
		}
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("certificate %d is not valid PEM", len(chain)+1)
		}
		// pem.Decode skips a block that it cannot read.
		if used := rest[:len(rest)-len(after)]; bytes.Count(used, []byte(pemBegin)) != 1 {
			return nil, fmt.Errorf("certificate %d is not valid PEM", len(chain)+1)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
		rest = bytes.TrimLeft(after, "\r\n\t ")
	}
	if len(chain) != chainLength {
		return nil, fmt.Errorf("%d certificates, want %d: the PCK certificate, its issuer and the root", len(chain), chainLength)
	}
	return chain, nil
}

// The OIDs of the SGX extension of a PCK certificate and of the TCB in it, and the last
// arcs of what is in that.
const (
	oidTCB    = 2
	oidPCESVN = 17
	oidCPUSVN = 18
)

func oidExtension() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
}

// TCB returns the CPUSVN and the PCE SVN in the SGX extension of a PCK certificate. What
// else is in the extension is for verifiers.
func TCB(pck *x509.Certificate) (cpuSVN [16]byte, pceSVN uint16, err error) {
	tcb, err := attributeOf(extensionOf(pck), append(oidExtension(), oidTCB))
	if err != nil {
		return cpuSVN, 0, fmt.Errorf("read the TCB of %.100q: %w", pck.Subject.CommonName, err)
	}
	var svn []byte
	var number int
	for last, into := range map[int]any{oidCPUSVN: &svn, oidPCESVN: &number} {
		value, err := attributeOf(tcb, append(oidExtension(), oidTCB, last))
		if err == nil {
			_, err = asn1.Unmarshal(value, into)
		}
		if err != nil {
			return cpuSVN, 0, fmt.Errorf("read the TCB of %.100q: %w", pck.Subject.CommonName, err)
		}
	}
	if len(svn) != len(cpuSVN) || number < 0 || number > 0xffff {
		return cpuSVN, 0, fmt.Errorf("read the TCB of %.100q: a CPUSVN of %d bytes, PCE SVN %d", pck.Subject.CommonName, len(svn), number)
	}
	return [16]byte(svn), uint16(number), nil
}

// extensionOf returns the SGX extension of a certificate, or nil.
func extensionOf(c *x509.Certificate) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidExtension()) {
			return e.Value
		}
	}
	return nil
}

// attributeOf returns the value of an attribute in a sequence of pairs of an OID and a
// value.
func attributeOf(der []byte, id asn1.ObjectIdentifier) ([]byte, error) {
	type attribute struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	if der == nil {
		return nil, errors.New("no SGX extension: it is not a PCK certificate")
	}
	var attributes []attribute
	if _, err := asn1.Unmarshal(der, &attributes); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(attributes, func(a attribute) bool { return a.ID.Equal(id) })
	if i < 0 {
		return nil, fmt.Errorf("no attribute %s", id)
	}
	return attributes[i].Value.FullBytes, nil
}
