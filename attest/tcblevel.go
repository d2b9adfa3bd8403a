package attest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// tcb is the TCB status of a platform together with its quoting enclave, and what goes
// with it.
type tcb struct {
	status               TCBStatus
	date                 time.Time
	advisories           []string
	evaluationDataNumber int
}

// tcbLevel determines the TCB status of a platform and its quoting enclave, whose security
// version is qeSVN. If it fails, the result has the evaluation data number only.
//
// This decides what is UpToDate: the highest level of the TCB info that the platform
// reaches has a status, the highest level of the QE identity that the quoting enclave
// reaches has one, and converge combines the two.
func (k *checkedCollateral) tcbLevel(platform *Platform, qeSVN uint16) (tcb, error) {
	switch {
	case platform == nil:
		return tcb{}, errors.New("cannot determine the TCB status: the PCK certificate does not describe a platform")
	case k.tcbInfo == nil:
		return tcb{}, errors.New("cannot determine the TCB status: the collateral has no valid TCB info")
	case k.qeIdentity == nil:
		return tcb{}, errors.New("cannot determine the TCB status: the collateral has no valid QE identity")
	}
	unknown := tcb{evaluationDataNumber: k.evaluationDataNumber()}
	if !k.checkPlatform(platform).Passed {
		return unknown, errors.New("cannot determine the TCB status: the collateral is for another platform")
	}
	level, err := k.tcbInfo.level(platform)
	if err != nil {
		return unknown, err
	}
	qe, err := k.qeIdentity.level(qeSVN)
	if err != nil {
		return unknown, err
	}
	status, err := converge(level.Status, qe.Status)
	if err != nil {
		return unknown, err
	}
	found := tcb{status: status, date: level.Date, evaluationDataNumber: unknown.evaluationDataNumber}
	if qe.Date.Before(level.Date) {
		found.date = qe.Date
	}
	found.advisories = slices.Concat(level.Advisories, qe.Advisories)
	slices.Sort(found.advisories)
	found.advisories = slices.Compact(found.advisories)
	return found, nil
}

// level returns the highest level that a platform reaches: each of its security versions
// is at least as high as the level's.
func (t *tcbInfo) level(p *Platform) (*tcbInfoLevel, error) {
	for i := range t.Levels {
		l := &t.Levels[i]
		reached := p.PCESVN >= *l.TCB.PCESVN
		for j, svn := range l.components {
			reached = reached && p.Components[j] >= svn
		}
		if reached {
			return l, nil
		}
	}
	return nil, errors.New("the platform reaches no TCB level of the TCB info: it is older than all of them")
}

// level returns the highest level that a quoting enclave reaches.
func (id *qeIdentity) level(svn uint16) (*qeIdentityLevel, error) {
	for i := range id.Levels {
		if l := &id.Levels[i]; svn >= *l.TCB.ISVSVN {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the quoting enclave's security version %d is lower than all levels of the QE identity", svn)
}

// converge combines the statuses of a platform and its quoting enclave, as Intel's library
// does (QuoteVerification/QVL, "converge TCB status"). A quoting enclave has one of three
// statuses only.
func converge(platform, qe TCBStatus) (TCBStatus, error) {
	switch {
	case platform == Revoked || qe == Revoked:
		return Revoked, nil
	case qe == UpToDate:
		return platform, nil
	case qe != OutOfDate:
		return "", fmt.Errorf("the QE identity has TCB status %s, which only platforms can have", qe)
	}
	switch platform {
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded:
		return OutOfDateConfigurationNeeded, nil
	}
	return OutOfDate, nil
}

// compare orders levels by their components, then by the PCE, as Intel's library does.
func (l tcbInfoLevel) compare(other tcbInfoLevel) int {
	return cmp.Or(bytes.Compare(l.components[:], other.components[:]), cmp.Compare(*l.TCB.PCESVN, *other.TCB.PCESVN))
}

func (l qeIdentityLevel) compare(other qeIdentityLevel) int {
	return cmp.Compare(*l.TCB.ISVSVN, *other.TCB.ISVSVN)
}

// sortLevels sorts levels from highest to lowest. Two equal levels are an error: which one
// applies would be arbitrary.
func sortLevels[L any](levels []L, compare func(L, L) int) error {
	if len(levels) == 0 {
		return errors.New("no TCB levels")
	}
	slices.SortFunc(levels, func(a, b L) int { return compare(b, a) })
	for i := range levels[1:] {
		if compare(levels[i], levels[i+1]) == 0 {
			return errors.New("duplicate TCB level")
		}
	}
	return nil
}
