package attest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// tcb is the TCB status of a platform together with its quoting enclave and its TDX module,
// and what goes with it.
type tcb struct {
	status               TCBStatus
	date                 time.Time
	advisories           []string
	evaluationDataNumber int

	short []Shortfall

	// launched and current are the two statuses that a relaunch status follows from; empty
	// for any other status.
	launched, current TCBStatus
}

// tcbLevel determines the TCB status of the platform of a quote. If it fails, the result has
// the evaluation data number and what is short, if these are known.
//
// This decides what is UpToDate: the highest level of the TCB info that the platform
// reaches has a status, the highest levels that the quoting enclave and the TDX module reach
// in their identities have one each, and converge combines them. For a trust domain of TDX
// 1.5 that is done for the security versions at launch and for those at present.
func (k *checkedCollateral) tcbLevel(q *quote.Quote, platform *Platform) (tcb, error) {
	switch {
	case platform == nil:
		return tcb{}, errors.New("cannot determine the TCB status: the PCK certificate does not describe a platform")
	case k.tcbInfo == nil:
		return tcb{}, errors.New("cannot determine the TCB status: the collateral has no valid TCB info")
	case k.qeIdentity == nil:
		return tcb{}, errors.New("cannot determine the TCB status: the collateral has no valid QE identity")
	}
	unknown := tcb{evaluationDataNumber: k.evaluationDataNumber()}
	if k.forPlatform(platform) != nil {
		return unknown, errors.New("cannot determine the TCB status: the collateral is for another platform")
	}
	if k.forTEE(teeOf(q)) != nil {
		return unknown, errors.New("cannot determine the TCB status: the collateral is for another TEE")
	}
	var launch *tdx.TCBSVN
	if q.TD != nil {
		launch = &q.TD.TEETCBSVN
	}
	found, err := k.evaluate(platform, launch, q.Signature.QEReport.ISVSVN)
	if err != nil {
		unknown.short = k.shortfalls(q, platform)
		return unknown, err
	}
	if q.TD != nil && q.TD.TDX15 != nil {
		current, err := k.evaluate(platform, &q.TD.TDX15.TEETCBSVN2, q.Signature.QEReport.ISVSVN)
		if err != nil {
			return unknown, fmt.Errorf("at present (TEE_TCB_SVN_2): %w", err)
		}
		if status := relaunch(found.status, current.status); status != found.status {
			found.launched, found.current, found.status = found.status, current.status, status
		}
	}
	found.evaluationDataNumber = unknown.evaluationDataNumber
	if found.status != UpToDate {
		found.short = append(k.shortfalls(q, platform), statusShortfalls(found.status)...)
	}
	return found, nil
}

// teeOf returns the TEE of a quote.
func teeOf(q *quote.Quote) quote.TEE {
	if q.TD != nil {
		return quote.TDX
	}
	return quote.SGX
}

// evaluate determines the TCB status of a platform with the security versions of a trust
// domain, which are nil for an enclave, and the security version of the quoting enclave.
func (k *checkedCollateral) evaluate(platform *Platform, td *tdx.TCBSVN, qeSVN uint16) (tcb, error) {
	level, err := k.tcbInfo.level(platform, td)
	if err != nil {
		return tcb{}, err
	}
	qe := reachedLevel(k.qeIdentity.Levels, qeSVN)
	if qe == nil {
		return tcb{}, fmt.Errorf("the quoting enclave's security version %d is lower than all levels of the QE identity", qeSVN)
	}
	status, err := converge("QE identity", level.Status, qe.Status)
	if err != nil {
		return tcb{}, err
	}
	found := tcb{status: status, date: earlier(level.Date, qe.Date), advisories: slices.Concat(level.Advisories, qe.Advisories)}
	if td != nil && td.ModuleMajor() > 0 {
		module, err := k.tcbInfo.moduleLevel(*td)
		if err != nil {
			return tcb{}, err
		}
		if found.status, err = converge("TDX module identity", found.status, module.Status); err != nil {
			return tcb{}, err
		}
		found.date = earlier(found.date, module.Date)
		found.advisories = append(found.advisories, module.Advisories...)
	}
	slices.Sort(found.advisories)
	found.advisories = slices.Compact(found.advisories)
	return found, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// level returns the highest level that a platform reaches: each of its security versions,
// and each of those of a trust domain unless it is nil, is at least as high as the level's.
func (t *tcbInfo) level(p *Platform, td *tdx.TCBSVN) (*tcbInfoLevel, error) {
	for i := range t.Levels {
		l := &t.Levels[i]
		reached := p.PCESVN >= l.pceSVN
		for j, svn := range l.components {
			reached = reached && p.Components[j] >= svn
		}
		if reached && (td == nil || l.reachedBy(*td)) {
			return l, nil
		}
	}
	if td != nil {
		return nil, fmt.Errorf("the platform with TEE_TCB_SVN %s reaches no TCB level of the TCB info: it is older than all of them", td)
	}
	return nil, errors.New("the platform reaches no TCB level of the TCB info: it is older than all of them")
}

// reachedBy reports whether the security versions of a trust domain are at least as high as
// the level's. The first two are those of the TDX module: since its version 1, the module's
// identity has levels for them.
func (l *tcbInfoLevel) reachedBy(td tdx.TCBSVN) bool {
	return td.Reaches(l.needed(td))
}

// needed returns the security versions that a trust domain needs for the level.
func (l *tcbInfoLevel) needed(td tdx.TCBSVN) tdx.TCBSVN {
	want := l.tdxComponents
	if td.ModuleMajor() > 0 {
		want[0], want[1] = 0, 0
	}
	return want
}

// moduleLevel returns the highest level that a TDX module reaches.
func (t *tcbInfo) moduleLevel(td tdx.TCBSVN) (*isvSVNLevel, error) {
	identity, err := t.identity(td.ModuleMajor())
	if err != nil {
		return nil, err
	}
	level := reachedLevel(identity.Levels, uint16(td.ModuleMinor()))
	if level == nil {
		return nil, fmt.Errorf("the TDX module's security version %d is lower than all levels of its identity %s", td.ModuleMinor(), identity.ID)
	}
	return level, nil
}

// converge combines the statuses of a platform and of a part with an identity of its own,
// as Intel's library does ("converge TCB status"). A part has one of three statuses only.
func converge(identity string, platform, part TCBStatus) (TCBStatus, error) {
	switch {
	case part != UpToDate && part != OutOfDate && part != Revoked:
		return "", fmt.Errorf("the %s has TCB status %s, which only platforms can have", identity, part)
	case platform == Revoked || part == Revoked:
		return Revoked, nil
	case part == UpToDate:
		return platform, nil
	}
	switch platform {
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded:
		return OutOfDateConfigurationNeeded, nil
	}
	return OutOfDate, nil
}

// relaunch combines the statuses of a trust domain at launch and at present: if the
// platform was out of date and no longer is, launching the trust domain again is advised.
func relaunch(launched, current TCBStatus) TCBStatus {
	if launched != OutOfDate && launched != OutOfDateConfigurationNeeded {
		return launched
	}
	switch current {
	case UpToDate, SWHardeningNeeded:
		if launched == OutOfDate {
			return TDRelaunchAdvised
		}
		return TDRelaunchAdvisedConfigurationNeeded
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
		return TDRelaunchAdvisedConfigurationNeeded
	}
	return launched
}

// compare orders levels by their components, then by the PCE, then by the TDX components,
// as Intel's library does.
func (l tcbInfoLevel) compare(other tcbInfoLevel) int {
	return cmp.Or(bytes.Compare(l.components[:], other.components[:]), cmp.Compare(l.pceSVN, other.pceSVN),
		bytes.Compare(l.tdxComponents[:], other.tdxComponents[:]))
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
