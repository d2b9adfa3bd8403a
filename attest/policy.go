package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Policy is an appraisal policy: what the caller requires of a quote besides that it is
// genuine. The zero Policy requires a platform that is up to date and an enclave that no
// debugger can read; any enclave will do.
type Policy struct {
	// Statuses are the TCB statuses that are accepted besides UpToDate. Revoked is never
	// accepted.
	Statuses []TCBStatus `json:"statuses,omitempty"`
	// Advisories are the security advisories that are accepted, such as INTEL-SA-00615,
	// if the status is accepted and not UpToDate. Nil accepts all; an empty list accepts
	// none.
	Advisories []string `json:"advisories"`
	// AllowDebug accepts enclaves that a debugger can read.
	AllowDebug bool `json:"allowDebug,omitempty"`

	// The enclave must be one of MREnclaves, signed by one of MRSigners, of the product
	// ISVProdID and at least of the security version MinISVSVN. An empty or nil field
	// requires nothing. ISVProdID and MinISVSVN need MRSigners or MREnclaves: each signer
	// counts its own products and versions.
	MREnclaves []sgx.Measurement `json:"mrEnclaves,omitempty"`
	MRSigners  []sgx.Measurement `json:"mrSigners,omitempty"`
	ISVProdID  *uint16           `json:"isvProdId,omitempty"`
	MinISVSVN  uint16            `json:"minIsvSvn,omitempty"`
	// ReportData is what the enclave must have bound, such as a nonce: the quote's report
	// data must be these bytes followed by zeros. Nil requires nothing.
	ReportData quote.HexBytes `json:"reportData,omitempty"`

	// MaxCollateralAge is how long ago TCB info, QE identity and PCK CRL may have been
	// issued. Zero requires nothing.
	MaxCollateralAge time.Duration `json:"maxCollateralAge,omitempty"`
	// AcceptExpired accepts TCB info and QE identity after their nextUpdate, which Azure
	// serves on purpose. It needs MaxCollateralAge.
	AcceptExpired bool `json:"acceptExpired,omitempty"`
	// MinEvaluationDataNumber is the lowest tcbEvaluationDataNumber of TCB info and QE
	// identity that is accepted. Intel increments it with each TCB recovery.
	MinEvaluationDataNumber int `json:"minEvaluationDataNumber,omitempty"`

	// PlatformInstances are the platforms that are accepted, by Platform.InstanceID.
	// Empty accepts any.
	PlatformInstances []quote.HexBytes `json:"platformInstances,omitempty"`
	// A platform with one of these properties is refused. A PCK certificate that does not
	// have the property is treated as if it were false.
	RefuseDynamicPlatform bool `json:"refuseDynamicPlatform,omitempty"`
	RefuseCachedKeys      bool `json:"refuseCachedKeys,omitempty"`
	RefuseSMT             bool `json:"refuseSmt,omitempty"`
}

// ParsePolicy reads a policy in JSON and checks that it is consistent.
func ParsePolicy(text []byte) (Policy, error) {
	var p Policy
	if err := json.Unmarshal(text, &p); err != nil {
		return Policy{}, fmt.Errorf("attest: parse policy: %w", err)
	}
	return p, p.check()
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
// duration ("720h"). An unknown member is an error. It does not check that the policy is
// consistent: a caller may complete it, and verification checks it.
func (p *Policy) UnmarshalJSON(text []byte) error {
	type fields Policy // without this method
	read := struct {
		*fields
		MaxCollateralAge string `json:"maxCollateralAge"` // instead of nanoseconds
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

// check checks that the policy is consistent.
func (p Policy) check() error {
	switch {
	case p.AcceptExpired && p.MaxCollateralAge <= 0:
		return errors.New("attest: policy: AcceptExpired needs MaxCollateralAge: collateral would be accepted forever")
	case p.MaxCollateralAge < 0:
		return errors.New("attest: policy: MaxCollateralAge is negative")
	case len(p.ReportData) > len(sgx.ReportData{}):
		return fmt.Errorf("attest: policy: ReportData has %d bytes, want at most %d", len(p.ReportData), len(sgx.ReportData{}))
	case p.ISVProdID != nil && len(p.MRSigners) == 0 && len(p.MREnclaves) == 0:
		return errors.New("attest: policy: ISVProdID needs MRSigners: each signer counts its own products")
	case p.MinISVSVN > 0 && len(p.MRSigners) == 0 && len(p.MREnclaves) == 0:
		return errors.New("attest: policy: MinISVSVN needs MRSigners: each signer counts its own versions")
	}
	for _, s := range p.Statuses {
		if s == Revoked || !slices.Contains(statuses(), s) {
			return fmt.Errorf("attest: policy: Statuses: %q cannot be accepted", s)
		}
	}
	return nil
}
