package attest

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// period is the time in which a part of the proof is valid.
type period struct {
	what        string // for people
	from, until time.Time
	renewable   bool // TCB info or QE identity, which Policy.AcceptExpired is about
}

func periodOf(c *x509.Certificate) period {
	return period{what: strconv.Quote(c.Subject.CommonName), from: c.NotBefore, until: c.NotAfter}
}

// earliest returns when the first of the periods ends.
func earliest(periods []period) time.Time {
	return slices.MinFunc(periods, func(a, b period) int { return a.until.Compare(b.until) }).until
}

// skew is how far the clock of an issuer of collateral may be ahead.
const skew = 24 * time.Hour

// checkPeriods checks that a time is in all of the periods, which may begin as much later
// as skew. The detail is when the first of them ends.
func checkPeriods(periods []period, at time.Time, skew time.Duration) (detail string, err error) {
	for _, p := range periods {
		if at.Before(p.from.Add(-skew)) || at.After(p.until) {
			return "", fmt.Errorf("%s is valid from %s to %s, not at %s", p.what,
				p.from.UTC().Format(time.RFC3339), p.until.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		}
	}
	return "until " + earliest(periods).UTC().Format(time.RFC3339), nil
}

func checkCertificatesValid(periods []period, at time.Time) Check {
	detail, err := checkPeriods(periods, at, 0)
	return newCheck(CheckCertificatesValid, detail, err)
}

func checkCollateralValid(periods []period, acceptExpired bool, at time.Time) Check {
	note := ""
	if acceptExpired {
		periods = slices.Clone(periods)
		for i, p := range periods {
			if p.renewable && at.After(p.until) {
				periods[i].until = at
				note = "; the policy accepts what has expired"
			}
		}
	}
	detail, err := checkPeriods(periods, at, skew)
	return newCheck(CheckCollateralValid, detail+note, err)
}
