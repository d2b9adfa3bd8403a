package attest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// appraiseTCB checks the TCB status, its advisories and the evaluation data number, or
// reports the error with which the status could not be determined.
func (p Policy) appraiseTCB(t tcb, err error) []Check {
	var checks []Check
	if err != nil {
		checks = append(checks, newCheck(CheckTCBStatus, "", err))
	} else {
		checks = append(checks, p.appraiseStatus(t), p.appraiseAdvisories(t))
		if p.RefusedAdvisories != nil {
			checks = append(checks, p.appraiseRefusedAdvisories(t))
		}
		if !p.MinTCBDate.IsZero() {
			checks = append(checks, p.appraiseTCBDate(t))
		}
	}
	if p.MinEvaluationDataNumber != 0 {
		checks = append(checks, p.appraiseEvaluation(t.evaluationDataNumber))
	}
	return checks
}

func (p Policy) appraiseStatus(t tcb) Check {
	detail := string(t.status)
	if t.launched != "" {
		detail += fmt.Sprintf(" (%s at launch, %s now)", t.launched, t.current)
	}
	switch {
	case t.status == UpToDate:
	case slices.Contains(p.Statuses, t.status):
		detail += ", accepted by the policy"
	default:
		return newCheck(CheckTCBStatus, "", fmt.Errorf("%s, which the policy does not accept", detail))
	}
	return newCheck(CheckTCBStatus, detail+"; as of "+t.date.UTC().Format(time.DateOnly), nil)
}

// appraiseAdvisories checks the advisories of a platform that is not up to date.
func (p Policy) appraiseAdvisories(t tcb) Check {
	if p.Advisories != nil && t.status != UpToDate {
		for _, a := range t.advisories {
			if !slices.Contains(p.Advisories, a) {
				return newCheck(CheckAdvisories, "", fmt.Errorf("%s applies to this platform, and the policy does not accept it", a))
			}
		}
	}
	if len(t.advisories) == 0 {
		return newCheck(CheckAdvisories, "none", nil)
	}
	return newCheck(CheckAdvisories, strings.Join(t.advisories, ", "), nil)
}

func (p Policy) appraiseRefusedAdvisories(t tcb) Check {
	for _, a := range t.advisories {
		if slices.Contains(p.RefusedAdvisories, a) {
			return newCheck(CheckRefusedAdvisories, "", fmt.Errorf("%s applies to this platform, and the policy never accepts it", a))
		}
	}
	return newCheck(CheckRefusedAdvisories, "none applies", nil)
}

func (p Policy) appraiseTCBDate(t tcb) Check {
	date := t.date.UTC().Format(time.DateOnly)
	var err error
	if t.date.Before(p.MinTCBDate) {
		err = fmt.Errorf("the platform has the updates up to %s, want %s", date, p.MinTCBDate.UTC().Format(time.DateOnly))
	}
	return newCheck(CheckTCBDate, date, err)
}

func (p Policy) appraiseEvaluation(number int) Check {
	var err error
	if number < p.MinEvaluationDataNumber {
		err = fmt.Errorf("the collateral has %d, want at least %d", number, p.MinEvaluationDataNumber)
	}
	return newCheck(CheckEvaluationDataNumber, fmt.Sprint(number), err)
}

// appraiseAge checks how long ago TCB info, QE identity and PCK CRL were issued.
func (p Policy) appraiseAge(k *checkedCollateral, at time.Time) Check {
	var oldest time.Duration
	var err error
	for _, part := range k.periods() {
		if !part.aging {
			continue
		}
		age := at.Sub(part.from)
		if oldest = max(oldest, age); age > p.MaxCollateralAge && err == nil {
			err = fmt.Errorf("%s was issued %s ago, on %s; the policy accepts %s", part.what, days(age), part.from.UTC().Format(time.RFC3339), days(p.MaxCollateralAge))
		}
	}
	return newCheck(CheckCollateralAge, days(oldest), err)
}

// days returns a duration for people.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func (p Policy) appraiseDebugMode(q *quote.Quote) Check {
	const debug = "DEBUG: a debugger can read and change everything in it"
	switch on := q.Enclave != nil && q.Enclave.Attributes.Debug() || q.TD != nil && q.TD.TDAttributes.Debug(); {
	case !on:
		return newCheck(CheckDebugMode, "off: a debugger cannot read it", nil)
	case p.AllowDebug:
		return newCheck(CheckDebugMode, debug+"; accepted by the policy", nil)
	}
	return newCheck(CheckDebugMode, "", errors.New(debug))
}

// appraisePlatform checks what the policy requires of the platform.
func (p Policy) appraisePlatform(platform *Platform) (checks []Check) {
	if len(p.PlatformInstances) > 0 {
		var err error
		switch {
		case len(platform.InstanceID) == 0:
			err = errors.New("the PCK certificate has no platform instance ID: it is issued by a Processor CA")
		default:
			err = oneOfBytes(platform.InstanceID, p.PlatformInstances)
		}
		checks = append(checks, newCheck(CheckPlatformInstance, platform.InstanceID.String(), err))
	}
	if p.PPIDs != nil {
		checks = append(checks, newCheck(CheckPPID, platform.PPID.String(), oneOfBytes(platform.PPID, p.PPIDs)))
	}
	if p.FMSPCs != nil {
		checks = append(checks, newCheck(CheckFMSPC, platform.FMSPC.String(), oneOfBytes(platform.FMSPC, p.FMSPCs)))
	}
	for _, c := range []struct {
		refuse bool
		name   CheckName
		is     *bool
	}{
		{p.RefuseDynamicPlatform, CheckDynamicPlatform, platform.DynamicPlatform},
		{p.RefuseCachedKeys, CheckCachedKeys, platform.CachedKeys},
		{p.RefuseSMT, CheckSMT, platform.SMTEnabled},
	} {
		if !c.refuse {
			continue
		}
		var err error
		if c.is != nil && *c.is {
			err = errors.New("yes, which the policy does not accept")
		}
		checks = append(checks, newCheck(c.name, "no, or not in the PCK certificate", err))
	}
	return checks
}

// acceptsEnclaves reports whether the policy accepts enclaves at all.
func (p Policy) acceptsEnclaves() bool {
	return p.AnyEnclave || p.MREnclaves != nil || p.MRSigners != nil
}

// acceptsNobody reports whether the policy names neither enclaves nor trust domains.
func (p Policy) acceptsNobody() bool { return !p.acceptsEnclaves() && p.TrustDomain == nil }

// appraiseTEE checks that the policy has a part for the kind of TEE of a quote.
func (p Policy) appraiseTEE(q *quote.Quote) Check {
	switch {
	case q.TD != nil && p.TrustDomain == nil:
		return newCheck(CheckTEE, "", errors.New("the quote is about a trust domain, and the policy accepts none: set TrustDomain"))
	case q.TD == nil && !p.acceptsEnclaves():
		return newCheck(CheckTEE, "", errors.New("the quote is about an enclave, and the policy accepts trust domains only: set MREnclaves, MRSigners or AnyEnclave"))
	}
	return newCheck(CheckTEE, q.BodyType.String()+", accepted by the policy", nil)
}

// appraiseIdentity checks what the policy requires of the identity of an enclave or trust
// domain, if it accepts any.
func (p Policy) appraiseIdentity(q *quote.Quote) (checks []Check, unchecked []Unchecked) {
	switch {
	case p.acceptsNobody():
		return nil, []Unchecked{UncheckedIdentity}
	case q.TD != nil && p.TrustDomain != nil:
		return p.TrustDomain.appraise(q.TD)
	case q.Enclave != nil && p.acceptsEnclaves():
		return p.appraiseEnclave(q.Enclave)
	}
	return nil, nil
}

// appraiseEnclave checks what the policy requires of the enclave's identity.
func (p Policy) appraiseEnclave(e *sgx.ReportBody) (checks []Check, unchecked []Unchecked) {
	if len(p.MREnclaves) > 0 {
		checks = append(checks, newCheck(CheckMREnclave, e.MREnclave.String(), oneOf(e.MREnclave, p.MREnclaves)))
	}
	if len(p.MRSigners) > 0 {
		checks = append(checks, newCheck(CheckMRSigner, e.MRSigner.String(), oneOf(e.MRSigner, p.MRSigners)))
	}
	if p.ISVProdID != nil {
		var err error
		if e.ISVProdID != *p.ISVProdID {
			err = fmt.Errorf("product %d, want %d", e.ISVProdID, *p.ISVProdID)
		}
		checks = append(checks, newCheck(CheckProduct, fmt.Sprint(e.ISVProdID), err))
	}
	if p.MinISVSVN > 0 {
		var err error
		if e.ISVSVN < p.MinISVSVN {
			err = fmt.Errorf("security version %d, want at least %d", e.ISVSVN, p.MinISVSVN)
		}
		checks = append(checks, newCheck(CheckSecurityVersion, fmt.Sprint(e.ISVSVN), err))
	}
	checks = append(checks, p.appraiseKSS(e)...)
	for _, bits := range []struct {
		want *Masked
		name CheckName
		got  Bits
	}{
		{p.Attributes, CheckAttributes, Bits(e.Attributes.Flags)},
		{p.XFRM, CheckXFRM, Bits(e.Attributes.XFRM)},
		{p.MiscSelect, CheckMiscSelect, Bits(e.MiscSelect)},
	} {
		if bits.want != nil {
			checks = append(checks, newCheck(bits.name, bits.got.String(), bits.want.appraise(bits.got)))
		}
	}
	if len(p.MREnclaves) == 0 && len(p.MRSigners) == 0 {
		unchecked = append(unchecked, UncheckedEnclave)
	}
	return checks, unchecked
}

// appraiseKSS checks what the policy requires of the fields of enclaves with KSS.
func (p Policy) appraiseKSS(e *sgx.ReportBody) (checks []Check) {
	if p.ISVExtProdIDs != nil {
		checks = append(checks, newCheck(CheckExtendedProduct, e.ISVExtProdID.String(), oneOf(e.ISVExtProdID, p.ISVExtProdIDs)))
	}
	if p.ISVFamilyIDs != nil {
		checks = append(checks, newCheck(CheckEnclaveFamily, e.ISVFamilyID.String(), oneOf(e.ISVFamilyID, p.ISVFamilyIDs)))
	}
	if p.ConfigIDs != nil {
		checks = append(checks, newCheck(CheckConfigID, e.ConfigID.String(), oneOf(e.ConfigID, p.ConfigIDs)))
	}
	if p.MinConfigSVN > 0 {
		var err error
		if e.ConfigSVN < p.MinConfigSVN {
			err = fmt.Errorf("security version %d of the configuration, want at least %d", e.ConfigSVN, p.MinConfigSVN)
		}
		checks = append(checks, newCheck(CheckConfigSVN, fmt.Sprint(e.ConfigSVN), err))
	}
	return checks
}

// oneOf checks that a value is in a list.
func oneOf[T interface {
	comparable
	fmt.Stringer
}](value T, accepted []T) error {
	if slices.Contains(accepted, value) {
		return nil
	}
	return fmt.Errorf("%s, which the policy does not accept", value)
}

func oneOfBytes(value quote.HexBytes, accepted []quote.HexBytes) error {
	if slices.ContainsFunc(accepted, func(a quote.HexBytes) bool { return bytes.Equal(a, value) }) {
		return nil
	}
	return fmt.Errorf("%s, which the policy does not accept", value)
}

func (p Policy) appraiseReportData(data sgx.ReportData) Check {
	var want sgx.ReportData
	copy(want[:], p.ReportData)
	var err error
	if data != want {
		err = fmt.Errorf("%s, want %s", data, want)
	}
	return newCheck(CheckReportData, data.String(), err)
}
