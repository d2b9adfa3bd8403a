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
	aging       bool // Policy.MaxCollateralAge is about it
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

// check checks that a time is in the period, which may begin as much later as skew.
func (p period) check(at time.Time, skew time.Duration) error {
	if at.Before(p.from.Add(-skew)) || at.After(p.until) {
		return fmt.Errorf("%s is valid from %s to %s, not at %s", p.what,
			p.from.UTC().Format(time.RFC3339), p.until.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return nil
}

func checkCertificatesValid(periods []period, at time.Time) Check {
	for _, p := range periods {
		if err := p.check(at, 0); err != nil {
			return newCheck(CheckCertificatesValid, "", err)
		}
	}
	return newCheck(CheckCertificatesValid, "until "+earliest(periods).UTC().Format(time.RFC3339), nil)
}

// checkCollateralValid checks that collateral is valid, or has expired and the policy
// accepts that. Its age is another check.
func checkCollateralValid(periods []period, policy Policy, at time.Time) Check {
	note := ""
	for _, p := range periods {
		err := p.check(at, skew)
		if err != nil && policy.AcceptExpired && p.renewable && at.After(p.until) {
			note = "; the policy accepts what has expired"
			continue
		}
		if err != nil {
			return newCheck(CheckCollateralValid, "", err)
		}
	}
	return newCheck(CheckCollateralValid, "until "+earliest(policy.accepted(periods)).UTC().Format(time.RFC3339)+note, nil)
}

// accepted returns the periods of collateral with the times until which the policy
// accepts it.
func (p Policy) accepted(periods []period) []period {
	periods = slices.Clone(periods)
	for i, part := range periods {
		tooOld := part.from.Add(p.MaxCollateralAge)
		switch {
		case p.MaxCollateralAge == 0 || !part.aging:
		case p.AcceptExpired && part.renewable, tooOld.Before(part.until):
			periods[i].until = tooOld
		}
	}
	return periods
}
