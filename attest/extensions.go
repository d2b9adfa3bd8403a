package attest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
)

// The extensions of X.509 that certificates and CRLs of the proof may or must not have, by the
// last number of their OID (RFC 5280, sections 4.2 and 5.2).
const (
	oidKeyUsage         = 15
	oidBasicConstraints = 19
	oidCRLNumber        = 20
	oidDeltaCRL         = 27 // deltaCRLIndicator: the CRL has the changes only
	oidDistribution     = 28 // issuingDistributionPoint: the CRL is about some certificates or reasons only
	oidCertificateOwner = 29 // certificateIssuer: the entry is about a certificate of another issuer
	oidNameConstraints  = 30
	oidPolicyMappings   = 33
	oidAuthorityKeyID   = 35
	oidPolicyLimits     = 36 // policyConstraints
	oidExtendedKeyUsage = 37
	oidInhibitAnyPolicy = 54
)

// rules are the rules for the extensions of one kind of structure. The meaning of critical
// extensions must be enforced, so all that are not are refused. Extensions that limit what the
// structure is valid for are refused even if they are not critical: none of Intel's has one.
type rules struct {
	critical []int // may be critical
	refused  []int // must not be there
}

// checkCertificateExtensions checks the extensions of a certificate. Key usage and basic
// constraints are enforced by checkLink and its callers.
func checkCertificateExtensions(extensions []pkix.Extension) error {
	return rules{
		critical: []int{oidKeyUsage, oidBasicConstraints},
		refused:  []int{oidExtendedKeyUsage, oidNameConstraints, oidPolicyMappings, oidPolicyLimits, oidInhibitAnyPolicy},
	}.check(extensions)
}

// checkCRLExtensions checks that a CRL lists all revoked certificates of its issuer and no
// others.
func checkCRLExtensions(crl *x509.RevocationList) error {
	list := rules{critical: []int{oidCRLNumber, oidAuthorityKeyID}, refused: []int{oidDeltaCRL, oidDistribution}}
	if err := list.check(crl.Extensions); err != nil {
		return fmt.Errorf("it has %w", err)
	}
	entry := rules{refused: []int{oidCertificateOwner}}
	for _, e := range crl.RevokedCertificateEntries {
		if err := entry.check(e.Extensions); err != nil {
			return fmt.Errorf("the entry of serial number %x has %w", e.SerialNumber, err)
		}
	}
	return nil
}

// check returns an error that describes the first extension that breaks the rules.
func (r rules) check(extensions []pkix.Extension) error {
	for _, e := range extensions {
		switch number := standardExtension(e.Id); {
		case slices.Contains(r.refused, number):
			return fmt.Errorf("the extension %s (%s), which limits what it is valid for", e.Id, extensionName(number))
		case e.Critical && !slices.Contains(r.critical, number):
			return fmt.Errorf("an unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// standardExtension returns the last number of the OID of an extension that RFC 5280 defines,
// or -1.
func standardExtension(id asn1.ObjectIdentifier) int {
	if len(id) == 4 && id[0] == 2 && id[1] == 5 && id[2] == 29 {
		return id[3]
	}
	return -1
}

// extensionName returns the name of an extension that is refused.
func extensionName(number int) string {
	switch number {
	case oidDeltaCRL:
		return "delta CRL indicator"
	case oidDistribution:
		return "issuing distribution point"
	case oidCertificateOwner:
		return "certificate issuer"
	case oidNameConstraints:
		return "name constraints"
	case oidPolicyMappings:
		return "policy mappings"
	case oidPolicyLimits:
		return "policy constraints"
	case oidExtendedKeyUsage:
		return "extended key usage"
	}
	return "inhibit anyPolicy"
}
