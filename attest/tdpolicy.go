package attest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/confcom/confcom/internal/strictjson"
	"github.com/confcom/confcom/tdx"
)

// TDPolicy is the part of a Policy for trust domains. It must state which ones are
// accepted: MRTDs, or Any.
//
// A list that is nil requires nothing. One that is empty is an error.
type TDPolicy struct {
	// MRTDs are the accepted hashes of the memory at launch: of the firmware.
	MRTDs []tdx.Measurement `json:"mrTds,omitzero"`
	// Any states that any trust domain will do.
	Any bool `json:"any,omitempty"`
	// RTMR0 to RTMR3 are the accepted values of the run-time measurement registers, which
	// the firmware and what it starts extend. They need MRTDs: other firmware can extend
	// them with what it likes.
	RTMR0 []tdx.Measurement `json:"rtmr0,omitzero"`
	RTMR1 []tdx.Measurement `json:"rtmr1,omitzero"`
	RTMR2 []tdx.Measurement `json:"rtmr2,omitzero"`
	RTMR3 []tdx.Measurement `json:"rtmr3,omitzero"`
	// MRConfigIDs, MROwners and MROwnerConfigs are the accepted values of what the host sets
	// at launch.
	MRConfigIDs    []tdx.Measurement `json:"mrConfigIds,omitzero"`
	MROwners       []tdx.Measurement `json:"mrOwners,omitzero"`
	MROwnerConfigs []tdx.Measurement `json:"mrOwnerConfigs,omitzero"`
	// MRServiceTDs are the accepted service trust domains, for example one that migrates the
	// trust domain; 48 zero bytes are none. Quotes before TDX 1.5 do not have the field, and
	// are refused.
	MRServiceTDs []tdx.Measurement `json:"mrServiceTds,omitzero"`

	// MRSEAMs are the accepted hashes of the TDX module. Without them, any module of Intel's
	// is accepted whose version has an accepted status.
	MRSEAMs []tdx.Measurement `json:"mrSeams,omitzero"`
	// MinTEETCBSVN is the lowest security version of each component that is accepted, at
	// launch. Zero requires nothing.
	MinTEETCBSVN tdx.TCBSVN `json:"minTeeTcbSvn,omitzero"`

	// AllowSEPTVE accepts trust domains without the attribute SEPT_VE_DISABLE: the host can
	// inject exceptions (#VE) into them by removing pages. Some clouds launch trust domains
	// without it.
	AllowSEPTVE bool `json:"allowSeptVe,omitempty"`
	// AllowMigratable accepts trust domains with the attribute MIGRATABLE: a migration trust
	// domain can move them to another platform. See MRServiceTDs.
	AllowMigratable bool `json:"allowMigratable,omitempty"`
	// A trust domain with one of these attributes is refused.
	RefusePKS     bool `json:"refusePks,omitempty"`
	RefuseKL      bool `json:"refuseKl,omitempty"`
	RefusePerfmon bool `json:"refusePerfmon,omitempty"`
	// AllowedXFAM is the extended processor states that are accepted. Zero accepts those of
	// tdx.XFAMDefined.
	AllowedXFAM tdx.XFAM `json:"allowedXfam,omitzero"`
}

// UnmarshalJSON sets the fields that the JSON object has. A member that is unknown, is
// given twice, is null, or is empty where that would require nothing is an error, and leaves the
// policy as it was.
func (p *TDPolicy) UnmarshalJSON(text []byte) error {
	type fields TDPolicy // without this method
	read := struct {
		fields
		AllowedXFAM *tdx.XFAM `json:"allowedXfam"` // 0 differs from none
	}{fields: fields(*p.clone())}
	if err := strictjson.Unmarshal(text, &read); err != nil {
		return err
	}
	if read.AllowedXFAM != nil {
		if *read.AllowedXFAM == 0 {
			return fmt.Errorf("allowedXfam: 0, which no trust domain meets: all have x87 and SSE (%s)", tdx.XFAMFixed)
		}
		read.fields.AllowedXFAM = *read.AllowedXFAM
	}
	if err := (*TDPolicy)(&read.fields).checkLists(); err != nil {
		return err
	}
	*p = TDPolicy(read.fields)
	return nil
}

// clone returns a copy that shares nothing with p, or nil for nil.
func (p *TDPolicy) clone() *TDPolicy {
	if p == nil {
		return nil
	}
	c := *p
	for _, l := range c.lists() {
		*l.accepted = slices.Clone(*l.accepted)
	}
	return &c
}

// tdList is a list of accepted values of a measurement, and which one that is.
type tdList struct {
	check    CheckName
	member   string // in JSON
	accepted *[]tdx.Measurement
	// of returns the measurement of a trust domain.
	of func(*tdx.ReportBody) (tdx.Measurement, error)
}

// lists returns all lists, in the order of checks.
func (p *TDPolicy) lists() []tdList {
	field := func(of func(*tdx.ReportBody) *tdx.Measurement) func(*tdx.ReportBody) (tdx.Measurement, error) {
		return func(td *tdx.ReportBody) (tdx.Measurement, error) { return *of(td), nil }
	}
	return []tdList{
		{CheckMRTD, "mrTds", &p.MRTDs, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.MRTD })},
		{CheckRTMR0, "rtmr0", &p.RTMR0, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.RTMR[0] })},
		{CheckRTMR1, "rtmr1", &p.RTMR1, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.RTMR[1] })},
		{CheckRTMR2, "rtmr2", &p.RTMR2, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.RTMR[2] })},
		{CheckRTMR3, "rtmr3", &p.RTMR3, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.RTMR[3] })},
		{CheckMRSEAM, "mrSeams", &p.MRSEAMs, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.MRSEAM })},
		{CheckMRConfigID, "mrConfigIds", &p.MRConfigIDs, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.MRConfigID })},
		{CheckMROwner, "mrOwners", &p.MROwners, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.MROwner })},
		{CheckMROwnerConfig, "mrOwnerConfigs", &p.MROwnerConfigs, field(func(td *tdx.ReportBody) *tdx.Measurement { return &td.MROwnerConfig })},
		{CheckMRServiceTD, "mrServiceTds", &p.MRServiceTDs, mrServiceTD},
	}
}

func mrServiceTD(td *tdx.ReportBody) (tdx.Measurement, error) {
	if td.TDX15 == nil {
		return tdx.Measurement{}, errors.New("the quote does not have it: it is of TDX 1.0")
	}
	return td.TDX15.MRServiceTD, nil
}

// checkLists checks that no list is empty.
func (p *TDPolicy) checkLists() error {
	for _, l := range p.lists() {
		if *l.accepted != nil && len(*l.accepted) == 0 {
			return fmt.Errorf("%s: empty list: leave it out to require nothing, or list what is accepted", l.member)
		}
	}
	return nil
}

// check checks that the part is consistent.
func (p *TDPolicy) check() error {
	if err := p.checkLists(); err != nil {
		return err
	}
	switch {
	case p.MRTDs == nil && !p.Any:
		return errors.New("it does not state which trust domains are accepted: set MRTDs or Any")
	case p.MRTDs != nil && p.Any:
		return errors.New("MRTDs contradict Any: set either")
	case p.MRTDs == nil && p.requiresRTMR():
		return errors.New("RTMR0 to RTMR3 need MRTDs: other firmware can extend them with anything")
	case p.AllowedXFAM != 0 && p.AllowedXFAM&tdx.XFAMFixed != tdx.XFAMFixed:
		return fmt.Errorf("AllowedXFAM is %s, which no trust domain meets: all have x87 and SSE (%s)", p.AllowedXFAM, tdx.XFAMFixed)
	}
	return nil
}

// requiresRTMR reports whether the policy is about a run-time measurement register.
func (p *TDPolicy) requiresRTMR() bool {
	return p.RTMR0 != nil || p.RTMR1 != nil || p.RTMR2 != nil || p.RTMR3 != nil
}

// appraise checks what the policy requires of a trust domain, but for debug mode and report
// data, which enclaves have as well.
func (p *TDPolicy) appraise(td *tdx.ReportBody) (checks []Check, unchecked []Unchecked) {
	checks = append(checks, p.appraiseAttributes(td.TDAttributes)...)
	checks = append(checks, p.appraiseXFAM(td.XFAM))
	if p.MinTEETCBSVN != (tdx.TCBSVN{}) {
		var err error
		if !td.TEETCBSVN.Reaches(p.MinTEETCBSVN) {
			err = fmt.Errorf("%s, want at least %s in each of its 16 components", td.TEETCBSVN, p.MinTEETCBSVN)
		}
		checks = append(checks, newCheck(CheckTEETCBSVN, td.TEETCBSVN.String(), err))
	}
	for _, l := range p.lists() {
		if *l.accepted == nil {
			continue
		}
		got, err := l.of(td)
		if err == nil && !slices.Contains(*l.accepted, got) {
			err = fmt.Errorf("%s, which the policy does not accept", got)
		}
		checks = append(checks, newCheck(l.check, got.String(), err))
	}
	if p.MRTDs == nil {
		unchecked = append(unchecked, UncheckedTrustDomain)
	}
	if !p.requiresRTMR() {
		unchecked = append(unchecked, UncheckedRTMR)
	}
	if p.MRServiceTDs == nil && td.TDX15 != nil && td.TDX15.MRServiceTD != (tdx.Measurement{}) {
		unchecked = append(unchecked, UncheckedServiceTD)
	}
	return checks, unchecked
}

func (p *TDPolicy) appraiseAttributes(a tdx.Attributes) []Check {
	var reserved error
	if a.Reserved() != 0 {
		reserved = fmt.Errorf("the reserved bits %s are set: what they mean is unknown", a.Reserved())
	}
	checks := []Check{newCheck(CheckTDAttributes, a.String(), reserved)}

	switch {
	case a&tdx.AttributeSEPTVEDisable != 0:
		checks = append(checks, newCheck(CheckSEPTVEDisable, "on: the host cannot inject #VE", nil))
	case p.AllowSEPTVE:
		checks = append(checks, newCheck(CheckSEPTVEDisable, "off, accepted by the policy", nil))
	default:
		checks = append(checks, newCheck(CheckSEPTVEDisable, "", errors.New("off: the host can inject #VE by removing pages; the policy does not accept it")))
	}
	switch {
	case a&tdx.AttributeMigratable == 0:
		checks = append(checks, newCheck(CheckMigratable, "no", nil))
	case p.AllowMigratable:
		checks = append(checks, newCheck(CheckMigratable, "yes, accepted by the policy", nil))
	default:
		checks = append(checks, newCheck(CheckMigratable, "", errors.New("yes: it can be moved to another platform; the policy does not accept it")))
	}
	for _, c := range []struct {
		refuse    bool
		name      CheckName
		attribute tdx.Attributes
	}{
		{p.RefusePKS, CheckPKS, tdx.AttributePKS},
		{p.RefuseKL, CheckKL, tdx.AttributeKL},
		{p.RefusePerfmon, CheckPerfmon, tdx.AttributePerfmon},
	} {
		if !c.refuse {
			continue
		}
		var err error
		if a&c.attribute != 0 {
			err = errors.New("yes, which the policy does not accept")
		}
		checks = append(checks, newCheck(c.name, "no", err))
	}
	return checks
}

func (p *TDPolicy) appraiseXFAM(x tdx.XFAM) Check {
	allowed := p.AllowedXFAM
	if allowed == 0 {
		allowed = tdx.XFAMDefined
	}
	var err error
	switch {
	case x&tdx.XFAMFixed != tdx.XFAMFixed:
		err = fmt.Errorf("%s, which no trust domain has: all have x87 and SSE (%s)", x, tdx.XFAMFixed)
	case x&^allowed != 0:
		err = fmt.Errorf("%s, of which the policy does not accept %s", x, x&^allowed)
	}
	return newCheck(CheckXFAM, x.String(), err)
}
