package ear

import (
	"errors"
	"fmt"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// Status is how far an attester can be trusted: one of the four tiers of AR4SI.
type Status string

// The statuses.
const (
	// None: the verifier could not appraise it.
	None Status = "none"
	// Affirming: everything that was appraised is as it should be.
	Affirming Status = "affirming"
	// Warning: it is trusted by the policy, and has a known weakness.
	Warning Status = "warning"
	// Contraindicated: it is not trusted.
	Contraindicated Status = "contraindicated"
)

// UnmarshalText accepts the four statuses only.
func (s *Status) UnmarshalText(text []byte) error {
	switch read := Status(text); read {
	case None, Affirming, Warning, Contraindicated:
		*s = read
		return nil
	}
	return fmt.Errorf("unknown status %q", text)
}

// Claim is a trustworthiness claim of AR4SI: what was found about one aspect of an attester.
type Claim int8

// The claims that NewVector makes, with AR4SI's meaning for the aspect.
const (
	NoClaim            Claim = 0 // not appraised
	Approved           Claim = 2
	ApprovedAtLaunch   Claim = 3  // executables: those that were measured at launch
	NoKnownWeakness    Claim = 3  // configuration
	KnownWeakness      Claim = 32 // hardware, configuration
	VisibleToOperators Claim = 32 // runtime-opaque: a debugger can read it
	Refused            Claim = 96
	NotRecognized      Claim = 97
	NotGenuine         Claim = 99 // a signature of the evidence is not valid
)

// Status returns the tier of a claim.
func (c Claim) Status() Status {
	switch {
	case c >= 96 || c <= -97:
		return Contraindicated
	case c >= 32 || c <= -33:
		return Warning
	case c >= 2 || c <= -2:
		return Affirming
	}
	return None
}

// Vector is a trustworthiness vector of AR4SI.
type Vector struct {
	InstanceIdentity Claim `json:"instance-identity"`
	Configuration    Claim `json:"configuration"`
	Executables      Claim `json:"executables"`
	FileSystem       Claim `json:"file-system"`
	Hardware         Claim `json:"hardware"`
	RuntimeOpaque    Claim `json:"runtime-opaque"`
	StorageOpaque    Claim `json:"storage-opaque"`
	SourcedData      Claim `json:"sourced-data"`
}

// Status returns the tier of the worst claim.
func (v Vector) Status() Status {
	worst := None
	for _, c := range []Claim{v.InstanceIdentity, v.Configuration, v.Executables, v.FileSystem, v.Hardware, v.RuntimeOpaque, v.StorageOpaque, v.SourcedData} {
		if status := c.Status(); status.rank() > worst.rank() {
			worst = status
		}
	}
	return worst
}

func (s Status) rank() int {
	switch s {
	case None:
		return 0
	case Affirming:
		return 1
	case Warning:
		return 2
	}
	return 3
}

// aspect is what a check is about.
type aspect int

const (
	unknown       aspect = iota
	collateral           // of the verifier: it says nothing about the attester
	evidence             // the signatures of the evidence
	genuineness          // whose hardware it is
	hardware             // what is known about that hardware
	instance             // which platform it is
	configuration        // of the platform, the enclave or the trust domain
	debugMode            // which is configuration that others can look through
	executables          // which enclave or trust domain it is
	binding              // what the quote binds: no aspect of trustworthiness
)

// aspectOf returns what a check is about.
func aspectOf(check attest.CheckName) aspect {
	switch check {
	case attest.CheckRootCRL, attest.CheckPCKCRL, attest.CheckTCBInfo, attest.CheckQEIdentity, attest.CheckCollateralValid,
		attest.CheckCollateralAge, attest.CheckCollateralTEE, attest.CheckCollateralPlatform, attest.CheckEvaluationDataNumber, attest.CheckPCKCA:
		return collateral
	case attest.CheckPCKChain, attest.CheckPlatform, attest.CheckQEReport, attest.CheckKeyBinding, attest.CheckQuoteSignature:
		return evidence
	case attest.CheckTrustedRoot, attest.CheckQEVendor, attest.CheckQuotingEnclave, attest.CheckTDXModule:
		return genuineness
	case attest.CheckRevocation, attest.CheckTCBStatus, attest.CheckAdvisories, attest.CheckRefusedAdvisories, attest.CheckTCBDate,
		attest.CheckCertificatesValid, attest.CheckTEETCBSVN, attest.CheckMRSEAM, attest.CheckFMSPC:
		return hardware
	case attest.CheckPlatformInstance, attest.CheckPPID:
		return instance
	case attest.CheckDebugMode:
		return debugMode
	case attest.CheckDynamicPlatform, attest.CheckCachedKeys, attest.CheckSMT, attest.CheckTDAttributes, attest.CheckSEPTVEDisable,
		attest.CheckMigratable, attest.CheckPKS, attest.CheckKL, attest.CheckPerfmon, attest.CheckXFAM,
		attest.CheckMRConfigID, attest.CheckMROwner, attest.CheckMROwnerConfig, attest.CheckMRServiceTD,
		attest.CheckConfigID, attest.CheckConfigSVN, attest.CheckAttributes, attest.CheckXFRM, attest.CheckMiscSelect:
		return configuration
	case attest.CheckTEE, attest.CheckMREnclave, attest.CheckMRSigner, attest.CheckProduct, attest.CheckSecurityVersion, attest.CheckExtendedProduct, attest.CheckEnclaveFamily,
		attest.CheckMRTD, attest.CheckRTMR0, attest.CheckRTMR1, attest.CheckRTMR2, attest.CheckRTMR3:
		return executables
	case attest.CheckReportData:
		return binding
	}
	return unknown
}

// findings are the checks of a result, by aspect and by name.
type findings struct {
	failed map[aspect]bool
	passed map[attest.CheckName]bool
}

func find(r *attest.Result) findings {
	f := findings{make(map[aspect]bool), make(map[attest.CheckName]bool)}
	for _, c := range r.Checks {
		if !c.Passed && aspectOf(c.Name) == collateral {
			f.failed[collateral] = true
		}
	}
	for _, c := range r.Checks {
		switch {
		case c.Passed:
			f.passed[c.Name] = true
		case !c.Name.NeedsCollateral() || !f.failed[collateral]: // otherwise its outcome says nothing
			f.failed[aspectOf(c.Name)] = true
		}
	}
	return f
}

// NewVector returns the trustworthiness vector of the result of verifying a quote, and the
// status, which is Affirming or Warning if and only if the result is trusted. The package
// comment has the rules.
func NewVector(r *attest.Result, q *quote.Quote) (Vector, Status) {
	f := find(r)
	v := f.vector(r, q)
	switch {
	case r.Trusted:
		return v, v.Status()
	case errors.Is(r.Err(), attest.ErrIncomplete):
		return v, None
	}
	for about, failed := range f.failed {
		if failed && about != collateral {
			return v, Contraindicated
		}
	}
	if f.failed[collateral] {
		return v, None
	}
	return v, Contraindicated // nothing was checked
}

func (f findings) vector(r *attest.Result, q *quote.Quote) Vector {
	switch {
	case f.failed[evidence]:
		// Nothing that the evidence says can be believed.
		return Vector{Configuration: NotGenuine, Executables: NotGenuine, Hardware: NotGenuine, RuntimeOpaque: NotGenuine}
	case f.failed[genuineness]:
		return Vector{Hardware: NotRecognized}
	}
	var v Vector
	if f.failed[instance] {
		v.InstanceIdentity = NotRecognized
	}
	if f.failed[configuration] || f.failed[debugMode] {
		v.Configuration = Refused
	}
	if f.failed[executables] {
		v.Executables = Refused
	}
	if f.failed[debugMode] {
		v.RuntimeOpaque = Refused
	}
	if f.failed[hardware] {
		v.Hardware = Refused
	}
	// Nothing is affirmed without hardware that is known to be sound.
	if !f.passed[attest.CheckTCBStatus] || !f.passed[attest.CheckRevocation] || f.failed[collateral] || f.failed[hardware] {
		return v
	}
	v.Hardware = Approved
	if r.Status != attest.UpToDate || len(r.Advisories) > 0 {
		v.Hardware = KnownWeakness
	}
	if f.passed[attest.CheckPlatformInstance] || f.passed[attest.CheckPPID] {
		v.InstanceIdentity = Approved
	}
	if v.Configuration == NoClaim {
		v.Configuration = NoKnownWeakness
		if weaklyConfigured(r.Status, q) {
			v.Configuration = KnownWeakness
		}
	}
	if v.Executables == NoClaim && f.identified(q) {
		v.Executables = ApprovedAtLaunch
	}
	if v.RuntimeOpaque == NoClaim {
		v.RuntimeOpaque = Approved
		if debug(q) {
			v.RuntimeOpaque = VisibleToOperators
		}
	}
	return v
}

// identified reports whether the policy names what runs: an enclave or its signer, or all
// that is measured until a trust domain's kernel runs.
func (f findings) identified(q *quote.Quote) bool {
	if q.TD != nil {
		return f.passed[attest.CheckMRTD] && f.passed[attest.CheckRTMR1] && f.passed[attest.CheckRTMR2]
	}
	return f.passed[attest.CheckMREnclave] || f.passed[attest.CheckMRSigner]
}

func debug(q *quote.Quote) bool {
	return q.Enclave != nil && q.Enclave.Attributes.Debug() || q.TD != nil && q.TD.TDAttributes.Debug()
}

// weaklyConfigured reports whether a configuration that the policy accepts has a known
// weakness.
func weaklyConfigured(status attest.TCBStatus, q *quote.Quote) bool {
	switch status {
	case attest.ConfigurationNeeded, attest.ConfigurationAndSWHardeningNeeded,
		attest.TDRelaunchAdvisedConfigurationNeeded, attest.OutOfDateConfigurationNeeded:
		return true
	}
	const guarded, movable = tdx.AttributeSEPTVEDisable, tdx.AttributeMigratable
	return debug(q) || q.TD != nil && (q.TD.TDAttributes&guarded == 0 || q.TD.TDAttributes&movable != 0)
}
