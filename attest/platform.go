package attest

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"github.com/confcom/confcom/quote"
)

// Platform is what a PCK certificate says of its platform: Intel, "SGX PCK
// Certificate and Certificate Revocation List Profile Specification", section 1.3.5.
type Platform struct {
	// PPID names the processor, and stays the same through all updates.
	PPID quote.HexBytes `json:"ppid"` // 16 bytes
	// Components are the 16 security versions that the certificate is for.
	Components [16]uint8      `json:"components"`
	PCESVN     uint16         `json:"pceSvn"`
	CPUSVN     quote.HexBytes `json:"cpuSvn"` // 16 bytes
	PCEID      quote.HexBytes `json:"pceId"`  // 2 bytes
	// FMSPC names the family of platforms that TCB info is for.
	FMSPC quote.HexBytes `json:"fmspc"` // 6 bytes
	Type  PlatformType   `json:"type"`

	// What follows is of platforms with several processor packages ("Platform CA").
	// It is nil for others, and where the certificate does not tell.
	InstanceID      quote.HexBytes `json:"instanceId,omitempty"`      // 16 bytes, new with each registration
	DynamicPlatform *bool          `json:"dynamicPlatform,omitempty"` // packages may be added
	CachedKeys      *bool          `json:"cachedKeys,omitempty"`      // Intel keeps the platform's root keys
	SMTEnabled      *bool          `json:"smtEnabled,omitempty"`      // hyper-threading is on
}

// clone is a copy that its owner may change; nil for nil.
func (p *Platform) clone() *Platform {
	if p == nil {
		return nil
	}
	c := *p
	for _, b := range []*quote.HexBytes{&c.PPID, &c.CPUSVN, &c.PCEID, &c.FMSPC, &c.InstanceID} {
		*b = slices.Clone(*b)
	}
	for _, b := range []**bool{&c.DynamicPlatform, &c.CachedKeys, &c.SMTEnabled} {
		if *b != nil {
			value := **b
			*b = &value
		}
	}
	return &c
}

// PlatformType is how a platform protects the EPC, in Intel's words.
type PlatformType string

// The types.
const (
	Standard              PlatformType = "Standard"              // with integrity and protection against replay, in up to 256 MiB
	Scalable              PlatformType = "Scalable"              // encrypted
	ScalableWithIntegrity PlatformType = "ScalableWithIntegrity" // encrypted, with cryptographic integrity
)

// sgxExtension is the OID of the extension that says which platform a PCK
// certificate is for.
func sgxExtension() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
}

// The parts of the extension, by the last number of their OID.
const (
	oidPPID = iota + 1
	oidTCB
	oidPCEID
	oidFMSPC
	oidType
	oidInstanceID
	oidConfiguration
)

const (
	oidPCESVN = 17 // after those of the 16 components
	oidCPUSVN = 18
)

const (
	oidDynamicPlatform = iota + 1
	oidCachedKeys
	oidSMTEnabled
)

// ParsePlatform returns what a PCK certificate says of its platform.
func ParsePlatform(pck *x509.Certificate) (*Platform, error) {
	for _, e := range pck.Extensions {
		if e.Id.Equal(sgxExtension()) {
			p, err := parseSGXExtension(e.Value)
			if err != nil {
				return nil, fmt.Errorf("attest: the SGX extension of %q: %w", pck.Subject.CommonName, err)
			}
			return p, nil
		}
	}
	return nil, fmt.Errorf("attest: %q has no SGX extension: it is not a PCK certificate", pck.Subject.CommonName)
}

func parseSGXExtension(der []byte) (*Platform, error) {
	p := new(Platform)
	parts, err := attributes(der, sgxExtension(), oidConfiguration)
	if err != nil {
		return nil, err
	}
	for last := oidPPID; last <= oidType; last++ {
		if _, ok := parts[last]; !ok {
			return nil, fmt.Errorf("number %d is missing", last)
		}
	}
	for last, value := range parts {
		var err error
		switch last {
		case oidPPID:
			p.PPID, err = octets(value, 16)
		case oidTCB:
			err = p.parseTCB(value)
		case oidPCEID:
			p.PCEID, err = octets(value, 2)
		case oidFMSPC:
			p.FMSPC, err = octets(value, 6)
		case oidType:
			p.Type, err = parseType(value)
		case oidInstanceID:
			p.InstanceID, err = octets(value, 16)
		case oidConfiguration:
			err = p.parseConfiguration(value)
		}
		if err != nil {
			return nil, fmt.Errorf("number %d: %w", last, err)
		}
	}
	return p, nil
}

func parseType(der []byte) (PlatformType, error) {
	types := []PlatformType{Standard, Scalable, ScalableWithIntegrity}
	var number asn1.Enumerated
	if err := unmarshal(der, &number); err != nil {
		return "", err
	}
	if number < 0 || int(number) >= len(types) {
		return "", fmt.Errorf("%d is no type of platforms", number)
	}
	return types[number], nil
}

// parseTCB reads 18 attributes: the components, the PCE's SVN, and the CPUSVN.
func (p *Platform) parseTCB(der []byte) error {
	parts, err := attributes(der, append(sgxExtension(), oidTCB), oidCPUSVN)
	if err != nil {
		return err
	}
	if len(parts) != oidCPUSVN {
		return fmt.Errorf("%d values, not %d", len(parts), oidCPUSVN)
	}
	for last, value := range parts {
		limit := 0xff
		switch last {
		case oidCPUSVN:
			if p.CPUSVN, err = octets(value, 16); err != nil {
				return err
			}
			continue
		case oidPCESVN:
			limit = 0xffff
		}
		var svn int
		if err := unmarshal(value, &svn); err != nil {
			return err
		}
		if svn < 0 || svn > limit {
			return fmt.Errorf("the security version %d is not between 0 and %d", svn, limit)
		}
		if last == oidPCESVN {
			p.PCESVN = uint16(svn)
		} else {
			p.Components[last-1] = uint8(svn)
		}
	}
	return nil
}

func (p *Platform) parseConfiguration(der []byte) error {
	parts, err := attributes(der, append(sgxExtension(), oidConfiguration), oidSMTEnabled)
	if err != nil {
		return err
	}
	for last, value := range parts {
		into := map[int]**bool{oidDynamicPlatform: &p.DynamicPlatform, oidCachedKeys: &p.CachedKeys, oidSMTEnabled: &p.SMTEnabled}[last]
		*into = new(bool)
		if err := unmarshal(value, *into); err != nil {
			return err
		}
	}
	return nil
}

// attributes reads a sequence of pairs of an OID and a value. The OIDs are parent and
// a number up to last, each of which may be there once.
func attributes(der []byte, parent asn1.ObjectIdentifier, last int) (map[int][]byte, error) {
	var list []struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	if err := unmarshal(der, &list); err != nil {
		return nil, err
	}
	parts := make(map[int][]byte, len(list))
	for _, a := range list {
		n := len(a.ID) - 1
		if n != len(parent) || !a.ID[:n].Equal(parent) || a.ID[n] < 1 || a.ID[n] > last {
			return nil, fmt.Errorf("there is an unknown attribute, %s", a.ID)
		}
		number := a.ID[n]
		if _, twice := parts[number]; twice {
			return nil, fmt.Errorf("%s is there twice", a.ID)
		}
		parts[number] = a.Value.FullBytes
	}
	return parts, nil
}

func octets(der []byte, size int) (quote.HexBytes, error) {
	var b []byte
	if err := unmarshal(der, &b); err != nil {
		return nil, err
	}
	if len(b) != size {
		return nil, fmt.Errorf("%d bytes, not %d", len(b), size)
	}
	return b, nil
}

// unmarshal reads one value, behind which nothing may be.
func unmarshal(der []byte, value any) error {
	rest, err := asn1.Unmarshal(der, value)
	if err == nil && len(rest) > 0 {
		err = errors.New("there is something behind it")
	}
	return err
}
