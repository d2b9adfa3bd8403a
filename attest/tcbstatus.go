package attest

import (
	"fmt"
	"slices"
)

// TCBStatus rates the security versions of a platform (TCB, trusted computing
// base), in the words of Intel's TCB info ("tcbStatus").
type TCBStatus string

// The statuses, from best to worst.
const (
	UpToDate                          TCBStatus = "UpToDate"
	SWHardeningNeeded                 TCBStatus = "SWHardeningNeeded"                 // the enclave must be built with mitigations against known attacks
	ConfigurationNeeded               TCBStatus = "ConfigurationNeeded"               // a firmware setting must be changed
	ConfigurationAndSWHardeningNeeded TCBStatus = "ConfigurationAndSWHardeningNeeded" // both
	// The two statuses of a trust domain that was launched on a platform out of date, which
	// has been updated since: to make use of that, launch it again.
	TDRelaunchAdvised                    TCBStatus = "TDRelaunchAdvised"
	TDRelaunchAdvisedConfigurationNeeded TCBStatus = "TDRelaunchAdvisedConfigurationNeeded" // and a firmware setting must be changed

	OutOfDate                    TCBStatus = "OutOfDate"                    // an update against known vulnerabilities is missing
	OutOfDateConfigurationNeeded TCBStatus = "OutOfDateConfigurationNeeded" // the same, and a firmware setting must be changed
	Revoked                      TCBStatus = "Revoked"                      // never to be trusted
)

// statuses returns all statuses, from best to worst.
func statuses() []TCBStatus {
	return []TCBStatus{UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
		TDRelaunchAdvised, TDRelaunchAdvisedConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded, Revoked}
}

// UnmarshalText accepts the known statuses only. The meaning of any other one is unknown,
// so it is an error.
func (s *TCBStatus) UnmarshalText(text []byte) error {
	if !slices.Contains(statuses(), TCBStatus(text)) {
		return fmt.Errorf("unknown TCB status %q, want one of %q", text, statuses())
	}
	*s = TCBStatus(text)
	return nil
}
