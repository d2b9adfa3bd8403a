package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/confcom/confcom/internal/strictjson"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Policy is an appraisal policy: what the caller requires of a quote besides that it is
// genuine. It must name whom it accepts: with the zero Policy, a verification is incomplete.
// An enclave is accepted only if the policy has MREnclaves, MRSigners or AnyEnclave, a trust
// domain only if it has TrustDomain.
//
// Without more, a policy requires a platform that is up to date, and an enclave or trust domain
// that no debugger can read.
//
// A list that is nil requires nothing. One that is empty is an error, as nothing could
// meet it and its writer may mean the opposite; only Advisories can be empty.
type Policy struct {
	// Statuses are the TCB statuses that are accepted besides UpToDate. Revoked is never
	// accepted.
	Statuses []TCBStatus `json:"statuses,omitzero"`
	// Advisories are the security advisories that are accepted, such as INTEL-SA-00615,
	// if the status is accepted and not UpToDate. Nil accepts all; an empty list accepts
	// none.
	Advisories []string `json:"advisories,omitzero"`
	// RefusedAdvisories are the security advisories that are never accepted, whatever the status,
	// as Intel writes them: INTEL-SA and five digits.
	RefusedAdvisories []string `json:"refusedAdvisories,omitzero"`
	// MinTCBDate is the lowest Result.TCBDate that is accepted: a platform must have all updates
	// up to this date. Zero requires nothing.
	MinTCBDate time.Time `json:"minTcbDate,omitzero"`
	// AllowDebug accepts enclaves and trust domains that a debugger can read.
	AllowDebug bool `json:"allowDebug,omitempty"`

	// The enclave must be one of MREnclaves, signed by one of MRSigners, of the product
	// ISVProdID and at least of the security version MinISVSVN. A nil or zero field
	// requires nothing. ISVProdID and MinISVSVN need MRSigners or MREnclaves: each signer
	// counts its own products and versions.
	MREnclaves []sgx.Measurement `json:"mrEnclaves,omitzero"`
	MRSigners  []sgx.Measurement `json:"mrSigners,omitzero"`
	// AnyEnclave states that any enclave will do: a policy without MREnclaves and MRSigners may
	// be one in which they have been forgotten.
	AnyEnclave bool    `json:"anyEnclave,omitempty"`
	ISVProdID  *uint16 `json:"isvProdId,omitempty"`
	MinISVSVN  uint16  `json:"minIsvSvn,omitempty"`

	// The fields of enclaves with KSS (key separation and sharing): the extended product ID and
	// the family ID, which the signer chooses, and the configuration ID and its security version,
	// which are chosen when the enclave is started. Without KSS they are zero. A nil or zero field
	// requires nothing; all need MRSigners or MREnclaves.
	ISVExtProdIDs []sgx.ID16     `json:"isvExtProdIds,omitzero"`
	ISVFamilyIDs  []sgx.ID16     `json:"isvFamilyIds,omitzero"`
	ConfigIDs     []sgx.ConfigID `json:"configIds,omitzero"`
	MinConfigSVN  uint16         `json:"minConfigSvn,omitempty"`

	// Attributes, XFRM and MiscSelect are what bits of the enclave's ATTRIBUTES (the flags, see
	// sgx.Flags), of its XFRM and of its MISCSELECT must be. Nil requires nothing.
	Attributes *Masked `json:"attributes,omitempty"`
	XFRM       *Masked `json:"xfrm,omitempty"`
	MiscSelect *Masked `json:"miscSelect,omitempty"`

	// TrustDomain is the part for trust domains. Nil accepts none.
	TrustDomain *TDPolicy `json:"trustDomain,omitempty"`

	// ReportData is what the enclave or trust domain must have bound, such as a nonce: the
	// quote's report data must be these bytes followed by zeros. Nil requires nothing.
	ReportData quote.HexBytes `json:"reportData,omitzero"`

	// MaxCollateralAge is how long ago TCB info, QE identity and PCK CRL may have been
	// issued. Zero requires nothing.
	MaxCollateralAge time.Duration `json:"maxCollateralAge,omitempty"`
	// AcceptExpired accepts TCB info and QE identity after their nextUpdate, which Azure
	// serves on purpose. It needs MaxCollateralAge.
	AcceptExpired bool `json:"acceptExpired,omitempty"`
	// MinEvaluationDataNumber is the lowest tcbEvaluationDataNumber of TCB info and QE
	// identity that is accepted. Intel increments it with each TCB recovery.
	MinEvaluationDataNumber int `json:"minEvaluationDataNumber,omitempty"`

	// PlatformInstances, PPIDs and FMSPCs are the platforms that are accepted: by
	// Platform.InstanceID, by Platform.PPID, and by family (Platform.FMSPC). Nil accepts any.
	PlatformInstances []quote.HexBytes `json:"platformInstances,omitzero"`
	PPIDs             []quote.HexBytes `json:"ppids,omitzero"`
	FMSPCs            []quote.HexBytes `json:"fmspcs,omitzero"`
	// A platform with one of these properties is refused. A PCK certificate that does not
	// have the property is treated as if it were false.
	RefuseDynamicPlatform bool `json:"refuseDynamicPlatform,omitempty"`
	RefuseCachedKeys      bool `json:"refuseCachedKeys,omitempty"`
	RefuseSMT             bool `json:"refuseSmt,omitempty"`
}

// ParsePolicy reads a policy in JSON, as UnmarshalJSON does, and checks that it is
// consistent.
func ParsePolicy(text []byte) (Policy, error) {
	var p Policy
	if err := p.UnmarshalJSON(text); err != nil {
		return Policy{}, fmt.Errorf("attest: parse policy: %w", err)
	}
	if err := p.check(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// MarshalJSON returns the policy in the form that ParsePolicy reads.
func (p Policy) MarshalJSON() ([]byte, error) {
	type fields Policy // without this method
	written := struct {
		fields
		MaxCollateralAge string `json:"maxCollateralAge,omitempty"` // instead of nanoseconds
	}{fields: fields(p)}
	if p.MaxCollateralAge != 0 {
		written.MaxCollateralAge = p.MaxCollateralAge.String()
	}
	return json.Marshal(written)
}

// UnmarshalJSON sets the fields that the JSON object has, with MaxCollateralAge as a Go
// duration ("720h") and MinTCBDate as ParseDate reads it. A member that is unknown, is given
// twice, is null, or is empty where that would require nothing is an error, and leaves the policy
// as it was. UnmarshalJSON does not check that the policy is consistent: a caller may complete it,
// and verification checks it.
func (p *Policy) UnmarshalJSON(text []byte) error {
	type fields Policy // without this method
	read := struct {
		fields
		MaxCollateralAge *string `json:"maxCollateralAge"` // instead of nanoseconds
		MinTCBDate       *string `json:"minTcbDate"`       // a date is enough
	}{fields: fields(*p)}
	// A list is not decoded into the memory of the former one.
	read.Statuses, read.Advisories = slices.Clone(read.Statuses), slices.Clone(read.Advisories)
	read.MREnclaves, read.MRSigners = slices.Clone(read.MREnclaves), slices.Clone(read.MRSigners)
	read.RefusedAdvisories = slices.Clone(read.RefusedAdvisories)
	read.ISVExtProdIDs, read.ISVFamilyIDs = slices.Clone(read.ISVExtProdIDs), slices.Clone(read.ISVFamilyIDs)
	read.ConfigIDs = slices.Clone(read.ConfigIDs)
	read.PlatformInstances, read.PPIDs, read.FMSPCs = slices.Clone(read.PlatformInstances), slices.Clone(read.PPIDs), slices.Clone(read.FMSPCs)
	read.Attributes, read.XFRM, read.MiscSelect = read.Attributes.clone(), read.XFRM.clone(), read.MiscSelect.clone()
	if p.ISVProdID != nil {
		read.ISVProdID = new(uint16)
		*read.ISVProdID = *p.ISVProdID
	}
	read.TrustDomain = p.TrustDomain.clone()
	if err := strictjson.Unmarshal(text, &read); err != nil {
		return err
	}
	if read.MaxCollateralAge != nil {
		age, err := time.ParseDuration(*read.MaxCollateralAge)
		if err == nil && age <= 0 {
			err = errors.New("want more than 0")
		}
		if err != nil {
			return fmt.Errorf("maxCollateralAge: %w", err)
		}
		read.fields.MaxCollateralAge = age
	}
	if read.MinTCBDate != nil {
		date, err := ParseDate(*read.MinTCBDate)
		if err != nil {
			return fmt.Errorf("minTcbDate: %w", err)
		}
		read.fields.MinTCBDate = date
	}
	if read.ReportData != nil && len(read.ReportData) == 0 {
		return errors.New("reportData: empty: leave it out to require nothing")
	}
	if err := Policy(read.fields).checkLists(); err != nil {
		return err
	}
	*p = Policy(read.fields)
	return nil
}

// checkLists checks that no list is empty but Advisories.
func (p Policy) checkLists() error {
	for _, list := range []struct {
		name  string
		empty bool
	}{
		{"statuses", p.Statuses != nil && len(p.Statuses) == 0},
		{"mrEnclaves", p.MREnclaves != nil && len(p.MREnclaves) == 0},
		{"mrSigners", p.MRSigners != nil && len(p.MRSigners) == 0},
		{"refusedAdvisories", p.RefusedAdvisories != nil && len(p.RefusedAdvisories) == 0},
		{"isvExtProdIds", p.ISVExtProdIDs != nil && len(p.ISVExtProdIDs) == 0},
		{"isvFamilyIds", p.ISVFamilyIDs != nil && len(p.ISVFamilyIDs) == 0},
		{"configIds", p.ConfigIDs != nil && len(p.ConfigIDs) == 0},
		{"platformInstances", p.PlatformInstances != nil && len(p.PlatformInstances) == 0},
		{"ppids", p.PPIDs != nil && len(p.PPIDs) == 0},
		{"fmspcs", p.FMSPCs != nil && len(p.FMSPCs) == 0},
	} {
		if list.empty {
			return fmt.Errorf("%s: empty list: leave it out to require nothing, or list what is accepted", list.name)
		}
	}
	for _, list := range []struct {
		name string
		ids  []quote.HexBytes
		size int
	}{
		{"platformInstances", p.PlatformInstances, 16},
		{"ppids", p.PPIDs, 16},
		{"fmspcs", p.FMSPCs, 6},
	} {
		for _, id := range list.ids {
			if len(id) != list.size {
				return fmt.Errorf("%s: %q has %d bytes, want %d", list.name, id, len(id), list.size)
			}
		}
	}
	for _, bits := range []struct {
		name string
		want *Masked
		size int
	}{{"attributes", p.Attributes, 64}, {"xfrm", p.XFRM, 64}, {"miscSelect", p.MiscSelect, 32}} {
		if err := bits.want.check(bits.size); err != nil {
			return fmt.Errorf("%s: %w", bits.name, err)
		}
	}
	if p.TrustDomain != nil {
		if err := p.TrustDomain.checkLists(); err != nil {
			return fmt.Errorf("trustDomain: %w", err)
		}
	}
	return nil
}

// check checks that the policy is consistent.
func (p Policy) check() error {
	if err := p.checkLists(); err != nil {
		return fmt.Errorf("attest: policy: %w", err)
	}
	switch {
	case p.AcceptExpired && p.MaxCollateralAge <= 0:
		return errors.New("attest: policy: AcceptExpired needs MaxCollateralAge: collateral would be accepted forever")
	case p.MaxCollateralAge < 0:
		return errors.New("attest: policy: MaxCollateralAge is negative")
	case p.MinEvaluationDataNumber < 0:
		return fmt.Errorf("attest: policy: MinEvaluationDataNumber is %d, want 0 or more", p.MinEvaluationDataNumber)
	case len(p.ReportData) > len(sgx.ReportData{}):
		return fmt.Errorf("attest: policy: ReportData has %d bytes, want at most %d", len(p.ReportData), len(sgx.ReportData{}))
	case p.AnyEnclave && (p.MRSigners != nil || p.MREnclaves != nil):
		return errors.New("attest: policy: AnyEnclave contradicts MREnclaves and MRSigners: set either")
	case p.ISVProdID != nil && p.MRSigners == nil && p.MREnclaves == nil:
		return errors.New("attest: policy: ISVProdID needs MRSigners: each signer counts its own products")
	case p.MinISVSVN > 0 && p.MRSigners == nil && p.MREnclaves == nil:
		return errors.New("attest: policy: MinISVSVN needs MRSigners: each signer counts its own versions")
	case (p.Attributes != nil || p.XFRM != nil || p.MiscSelect != nil) && !p.acceptsEnclaves():
		return errors.New("attest: policy: Attributes, XFRM and MiscSelect are about enclaves, and the policy accepts none: set MREnclaves, MRSigners or AnyEnclave")
	case p.requiresKSS() && p.MRSigners == nil && p.MREnclaves == nil:
		return errors.New("attest: policy: ISVExtProdIDs, ISVFamilyIDs, ConfigIDs and MinConfigSVN need MRSigners: other enclaves can have any of them")
	}
	for _, advisory := range p.RefusedAdvisories {
		if !isAdvisory(advisory) {
			return fmt.Errorf("attest: policy: RefusedAdvisories: %q applies to no platform: want one such as INTEL-SA-00615", advisory)
		}
		if slices.Contains(p.Advisories, advisory) {
			return fmt.Errorf("attest: policy: %s is in Advisories and in RefusedAdvisories", advisory)
		}
	}
	if p.TrustDomain != nil {
		if err := p.TrustDomain.check(); err != nil {
			return fmt.Errorf("attest: policy: TrustDomain: %w", err)
		}
	}
	for _, s := range p.Statuses {
		if s == Revoked || !slices.Contains(statuses(), s) {
			return fmt.Errorf("attest: policy: Statuses: %q cannot be accepted", s)
		}
	}
	return nil
}

// isAdvisory reports whether text is written like the advisories of TCB infos. One that is misspelt
// would be refused in vain.
func isAdvisory(text string) bool {
	issuer, number, found := strings.Cut(text, "-SA-") // INTEL, or SIMULATED in tests
	return found && issuer != "" && len(number) == 5 && strings.Trim(number, "0123456789") == "" && strings.Trim(issuer, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// ParseDate reads a date such as 2025-01-31, which means the start of that day in UTC, or a time
// (RFC 3339).
func ParseDate(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if date, err := time.Parse(layout, text); err == nil && !date.IsZero() {
			return date.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date such as 2025-01-31, nor a time such as 2025-01-31T12:00:00Z", text)
}

// requiresKSS reports whether the policy is about fields of enclaves with KSS.
func (p Policy) requiresKSS() bool {
	return p.ISVExtProdIDs != nil || p.ISVFamilyIDs != nil || p.ConfigIDs != nil || p.MinConfigSVN > 0
}
