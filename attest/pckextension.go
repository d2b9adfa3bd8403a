package attest

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/confcom/confcom/quote"
)

// sgxExtension returns the OID of the SGX extension of PCK certificates.
func sgxExtension() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
}

// The attributes of the extension, by the last number of their OID.
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

// ParsePlatform reads the SGX extension of a PCK certificate. An unknown, missing or
// repeated attribute is an error.
func ParsePlatform(pck *x509.Certificate) (*Platform, error) {
	for _, e := range pck.Extensions {
		if e.Id.Equal(sgxExtension()) {
			p, err := parseSGXExtension(e.Value)
			if err != nil {
				return nil, fmt.Errorf("attest: parse SGX extension of %q: %w", pck.Subject.CommonName, err)
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
			return nil, fmt.Errorf("attribute %d is missing", last)
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
			return nil, fmt.Errorf("attribute %d: %w", last, err)
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
		return "", fmt.Errorf("unknown platform type %d", number)
	}
	return types[number], nil
}

// parseTCB reads the attribute TCB, which is 18 attributes: the 16 components, the PCE SVN
// and the CPUSVN.
func (p *Platform) parseTCB(der []byte) error {
	parts, err := attributes(der, append(sgxExtension(), oidTCB), oidCPUSVN)
	if err != nil {
		return err
	}
	if len(parts) != oidCPUSVN {
		return fmt.Errorf("%d attributes, want %d", len(parts), oidCPUSVN)
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
			return fmt.Errorf("security version %d is not between 0 and %d", svn, limit)
		}
		if last == oidPCESVN {
			p.PCESVN = uint16(svn)
		} else {
			p.Components[last-1] = uint8(svn)
		}
	}
	return nil
}

// parseConfiguration reads the attribute Configuration, whose three attributes are
// optional.
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

// attributes reads a sequence of pairs of an OID and a value. Each OID is parent followed by
// a number from 1 to last, and occurs at most once. The result is by that number.
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
			return nil, fmt.Errorf("unknown attribute %s", a.ID)
		}
		number := a.ID[n]
		if _, twice := parts[number]; twice {
			return nil, fmt.Errorf("attribute %s occurs twice", a.ID)
		}
		parts[number] = a.Value.FullBytes
	}
	return parts, nil
}

// octets reads an octet string of a size.
func octets(der []byte, size int) (quote.HexBytes, error) {
	var b []byte
	if err := unmarshal(der, &b); err != nil {
		return nil, err
	}
	if len(b) != size {
		return nil, fmt.Errorf("%d bytes, want %d", len(b), size)
	}
	return b, nil
}

// unmarshal reads a DER value, which must be all of der.
func unmarshal(der []byte, value any) error {
	rest, err := asn1.Unmarshal(der, value)
	if err == nil && len(rest) > 0 {
		err = errors.New("bytes after the value")
	}
	return err
}
