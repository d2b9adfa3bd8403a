package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Policy is what the caller wants of a quote, besides its being genuine. The zero
// Policy wants a platform that is up to date and an enclave that no debugger can
// read, whichever it is.
type Policy struct {
	// Statuses are accepted besides UpToDate. Revoked never is.
	Statuses []TCBStatus `json:"statuses,omitempty"`
	// Advisories are accepted, such as INTEL-SA-00615, where the status is accepted
	// and not UpToDate. Nil accepts all.
	Advisories []string `json:"advisories"`
	// AllowDebug accepts enclaves that a debugger can read.
	AllowDebug bool `json:"allowDebug,omitempty"`

	// The enclave has to be one of MREnclaves, and be signed by one of MRSigners, of
	// the product ISVProdID and of version MinISVSVN at least. What is empty or nil
	// does not matter. A product means something beside its signer only.
	MREnclaves []sgx.Measurement `json:"mrEnclaves,omitempty"`
	MRSigners  []sgx.Measurement `json:"mrSigners,omitempty"`
	ISVProdID  *uint16           `json:"isvProdId,omitempty"`
	MinISVSVN  uint16            `json:"minIsvSvn,omitempty"`
	// ReportData is what the enclave has to have bound, such as a nonce: its report
	// data begin with it, and are zero behind. Nil does not matter.
	ReportData quote.HexBytes `json:"reportData,omitempty"`

	// MaxCollateralAge, where set, is how long ago TCB info, QE identity and PCK CRL
	// may have been issued.
	MaxCollateralAge time.Duration `json:"maxCollateralAge,omitempty"`
	// AcceptExpired accepts TCB info and QE identity after their nextUpdate, which
	// Azure serves on purpose. It needs MaxCollateralAge.
	AcceptExpired bool `json:"acceptExpired,omitempty"`
	// MinEvaluationDataNumber is the lowest tcbEvaluationDataNumber of TCB info and
	// QE identity: Intel counts it up with each TCB recovery.
	MinEvaluationDataNumber int `json:"minEvaluationDataNumber,omitempty"`

	// PlatformInstances are the only platforms that are accepted, where set.
	PlatformInstances []quote.HexBytes `json:"platformInstances,omitempty"`
	// The platform must not be one of these. A certificate that does not tell is as
	// good as one that says no.
	RefuseDynamicPlatform bool `json:"refuseDynamicPlatform,omitempty"`
	RefuseCachedKeys      bool `json:"refuseCachedKeys,omitempty"`
	RefuseSMT             bool `json:"refuseSmt,omitempty"`
}

// ParsePolicy reads a policy in JSON, and refuses one that makes no sense.
func ParsePolicy(text []byte) (Policy, error) {
	var p Policy
	if err := json.Unmarshal(text, &p); err != nil {
		return Policy{}, fmt.Errorf("attest: policy: %w", err)
	}
	return p, p.check()
}

// UnmarshalJSON sets the fields that the JSON has. Durations are written as in Go
// ("720h"). Unknown members are an error. Whether the policy makes sense is not
// checked: other sources may complete it.
func (p *Policy) UnmarshalJSON(text []byte) error {
	type fields Policy // without this method
	read := struct {
		*fields
		MaxCollateralAge string `json:"maxCollateralAge"` // hides the number
	}{fields: (*fields)(p)}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		return err
	}
	if read.MaxCollateralAge != "" {
		age, err := time.ParseDuration(read.MaxCollateralAge)
		if err != nil {
			return fmt.Errorf("maxCollateralAge: %w", err)
		}
		p.MaxCollateralAge = age
	}
	return nil
}

// check refuses a policy that makes no sense.
func (p Policy) check() error {
	switch {
	case p.AcceptExpired && p.MaxCollateralAge <= 0:
		return errors.New("attest: Policy.AcceptExpired needs MaxCollateralAge: collateral would be good for ever")
	case p.MaxCollateralAge < 0:
		return errors.New("attest: Policy.MaxCollateralAge is negative")
	case len(p.ReportData) > len(sgx.ReportData{}):
		return fmt.Errorf("attest: Policy.ReportData has %d bytes, and there is room for %d", len(p.ReportData), len(sgx.ReportData{}))
	case p.ISVProdID != nil && len(p.MRSigners) == 0 && len(p.MREnclaves) == 0:
		return errors.New("attest: Policy.ISVProdID means something beside MRSigners only: every signer has such a product")
	case p.MinISVSVN > 0 && len(p.MRSigners) == 0 && len(p.MREnclaves) == 0:
		return errors.New("attest: Policy.MinISVSVN means something beside MRSigners only: every signer counts his own versions")
	}
	for _, s := range p.Statuses {
		if s == Revoked || !slices.Contains(statuses(), s) {
			return fmt.Errorf("attest: Policy.Statuses: %q cannot be accepted", s)
		}
	}
	return nil
}

// checkStatus: the status of the platform with its quoting enclave is accepted.
func (p Policy) checkStatus(s TCBStatus) (string, error) {
	switch {
	case s == UpToDate:
		return string(s), nil
	case slices.Contains(p.Statuses, s):
		return string(s) + ", accepted as asked for", nil
	}
	return "", fmt.Errorf("%s, which is not accepted", s)
}

// checkAdvisories: those that concern a platform which is not up to date are
// accepted.
func (p Policy) checkAdvisories(s TCBStatus, advisories []string) (string, error) {
	if p.Advisories != nil && s != UpToDate {
		for _, a := range advisories {
			if !slices.Contains(p.Advisories, a) {
				return "", fmt.Errorf("%s concerns this platform, and is not accepted", a)
			}
		}
	}
	if len(advisories) == 0 {
		return "none", nil
	}
	return strings.Join(advisories, ", "), nil
}

// checkEnclave makes the checks of which enclave it is that the policy asks for.
func (p Policy) checkEnclave(r *Result, e *sgx.ReportBody) {
	if len(p.MREnclaves) > 0 {
		r.add("MRENCLAVE", e.MREnclave.String(), oneOf(e.MREnclave, p.MREnclaves))
	}
	if len(p.MRSigners) > 0 {
		r.add("MRSIGNER", e.MRSigner.String(), oneOf(e.MRSigner, p.MRSigners))
	}
	if p.ISVProdID != nil {
		var err error
		if e.ISVProdID != *p.ISVProdID {
			err = fmt.Errorf("it is product %d, not %d", e.ISVProdID, *p.ISVProdID)
		}
		r.add("product", fmt.Sprint(e.ISVProdID), err)
	}
	if p.MinISVSVN > 0 {
		var err error
		if e.ISVSVN < p.MinISVSVN {
			err = fmt.Errorf("its security version is %d, which is lower than %d", e.ISVSVN, p.MinISVSVN)
		}
		r.add("security version", fmt.Sprint(e.ISVSVN), err)
	}
	if len(p.MREnclaves) == 0 && len(p.MRSigners) == 0 {
		r.NotChecked = append(r.NotChecked, "which enclave it is")
	}
}

func oneOf(m sgx.Measurement, accepted []sgx.Measurement) error {
	if slices.Contains(accepted, m) {
		return nil
	}
	return fmt.Errorf("it is %s, which is not accepted", m)
}

// checkReportData: the enclave has bound what was asked for.
func (p Policy) checkReportData(r *Result, data sgx.ReportData) {
	if p.ReportData == nil {
		r.NotChecked = append(r.NotChecked, "whether its report data are what you expect, such as a nonce")
		return
	}
	var want sgx.ReportData
	copy(want[:], p.ReportData)
	var err error
	if data != want {
		err = fmt.Errorf("they are %s, not %s", data, want)
	}
	r.add("report data", data.String(), err)
}

// checkAge: the collateral is not older than the caller wants.
func (p Policy) checkAge(r *Result, k *checked, at time.Time) {
	if p.MaxCollateralAge == 0 {
		return
	}
	issued := k.signed()
	if k.pckCRL != nil {
		issued = append(issued, period{what: "the PCK CRL", from: k.pckCRL.ThisUpdate})
	}
	var oldest time.Duration
	var err error
	for _, i := range issued {
		age := at.Sub(i.from)
		if oldest = max(oldest, age); age > p.MaxCollateralAge && err == nil {
			err = fmt.Errorf("%s was issued %s ago, on %s, and %s is accepted", i.what, days(age), i.from.UTC().Format(time.RFC3339), days(p.MaxCollateralAge))
		}
	}
	r.add("collateral age", days(oldest), err)
}

// days says a time as people say it.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// checkEvaluation: the collateral knows of the TCB recoveries that the caller does.
func (p Policy) checkEvaluation(r *Result) {
	if p.MinEvaluationDataNumber == 0 {
		return
	}
	var err error
	if r.EvaluationDataNumber < p.MinEvaluationDataNumber {
		err = fmt.Errorf("the collateral has %d, which is lower than %d", r.EvaluationDataNumber, p.MinEvaluationDataNumber)
	}
	r.add("evaluation data number", fmt.Sprint(r.EvaluationDataNumber), err)
}

// checkPlatform: the platform is one that the caller accepts.
func (p Policy) checkPlatform(r *Result, platform *Platform) {
	if len(p.PlatformInstances) > 0 {
		var err error
		switch {
		case len(platform.InstanceID) == 0:
			err = errors.New("the PCK certificate does not tell, as it is of a Processor CA")
		case !slices.ContainsFunc(p.PlatformInstances, func(id quote.HexBytes) bool { return bytes.Equal(id, platform.InstanceID) }):
			err = fmt.Errorf("it is %s, which is not accepted", platform.InstanceID)
		}
		r.add("platform instance", platform.InstanceID.String(), err)
	}
	for _, c := range []struct {
		refuse bool
		name   string
		is     *bool
	}{
		{p.RefuseDynamicPlatform, "dynamic platform", platform.DynamicPlatform},
		{p.RefuseCachedKeys, "cached keys", platform.CachedKeys},
		{p.RefuseSMT, "SMT", platform.SMTEnabled},
	} {
		if !c.refuse {
			continue
		}
		var err error
		if c.is != nil && *c.is {
			err = errors.New("yes, which is not accepted")
		}
		r.add(c.name, "no, or not told", err)
	}
}
