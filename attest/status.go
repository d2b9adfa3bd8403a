package attest

import (
	"fmt"
	"slices"
)

// TCBStatus says how safe the security versions of a platform are, in the words of
// Intel's TCB info ("tcbStatus").
type TCBStatus string

// The statuses, from the best to the worst.
const (
	UpToDate                          TCBStatus = "UpToDate"
	SWHardeningNeeded                 TCBStatus = "SWHardeningNeeded"                 // the enclave itself has to be built against known attacks
	ConfigurationNeeded               TCBStatus = "ConfigurationNeeded"               // a setting of the firmware is not as it should be
	ConfigurationAndSWHardeningNeeded TCBStatus = "ConfigurationAndSWHardeningNeeded" // both
	OutOfDate                         TCBStatus = "OutOfDate"                         // an update is missing that closes known holes
	OutOfDateConfigurationNeeded      TCBStatus = "OutOfDateConfigurationNeeded"      // that, and a setting
	Revoked                           TCBStatus = "Revoked"                           // never to be trusted
)

// statuses are all of them, from the best to the worst.
func statuses() []TCBStatus {
	return []TCBStatus{UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
		OutOfDate, OutOfDateConfigurationNeeded, Revoked}
}

// UnmarshalText accepts the known statuses only: of another one nobody could say
// what it means.
func (s *TCBStatus) UnmarshalText(text []byte) error {
	if !slices.Contains(statuses(), TCBStatus(text)) {
		return fmt.Errorf("%q is no TCB status: there are %q", text, statuses())
	}
	*s = TCBStatus(text)
	return nil
}

// converge is the status of a platform with a quoting enclave, of which each has one.
// Intel gives quoting enclaves three of them only (QuoteVerification/QVL, "converge
// TCB status").
func converge(platform, qe TCBStatus) (TCBStatus, error) {
	switch {
	case platform == Revoked || qe == Revoked:
		return Revoked, nil
	case qe == UpToDate:
		return platform, nil
	case qe != OutOfDate:
		return "", fmt.Errorf("the quoting enclave is said to be %s, which only a platform can be", qe)
	}
	switch platform {
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded:
		return OutOfDateConfigurationNeeded, nil
	}
	return OutOfDate, nil
}
