package attest

import (
	"slices"

	"github.com/confcom/confcom/quote"
)

// Platform is the content of the SGX extension of a PCK certificate: the platform that it
// was issued for. Source: Intel, "SGX PCK Certificate and Certificate Revocation List
// Profile Specification", section 1.3.5.
type Platform struct {
	// PPID is the platform provisioning ID. It identifies the processor and does not change
	// with updates.
	PPID quote.HexBytes `json:"ppid"` // 16 bytes
	// Components are the 16 security versions that the certificate was issued for.
	Components [16]uint8      `json:"components"`
	PCESVN     uint16         `json:"pceSvn"`
	CPUSVN     quote.HexBytes `json:"cpuSvn"` // 16 bytes
	PCEID      quote.HexBytes `json:"pceId"`  // 2 bytes
	// FMSPC identifies the family of platforms that share a TCB info (family, model,
	// stepping, platform type and custom SKU).
	FMSPC quote.HexBytes `json:"fmspc"` // 6 bytes
	Type  PlatformType   `json:"type"`

	// The following fields exist for platforms with several processor packages, whose PCK
	// certificate is issued by the Platform CA. They are nil if the certificate does not
	// have them.
	InstanceID      quote.HexBytes `json:"instanceId,omitempty"`      // 16 bytes, new with each registration of the platform
	DynamicPlatform *bool          `json:"dynamicPlatform,omitempty"` // packages can be added
	CachedKeys      *bool          `json:"cachedKeys,omitempty"`      // Intel keeps the platform's root keys
	SMTEnabled      *bool          `json:"smtEnabled,omitempty"`      // hyper-threading is enabled
}

// clone returns a copy that shares nothing with p, or nil for nil.
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

// PlatformType is how a platform protects the EPC (Enclave Page Cache), in Intel's words.
type PlatformType string

// The platform types.
const (
	Standard              PlatformType = "Standard"              // encrypted, with protection against tampering and replay; up to 256 MiB
	Scalable              PlatformType = "Scalable"              // encrypted
	ScalableWithIntegrity PlatformType = "ScalableWithIntegrity" // encrypted, with cryptographic integrity
)
