package attest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// Shortfall is something that keeps a platform from being UpToDate, and what mends it.
type Shortfall struct {
	Part ShortPart `json:"part"`
	// Index is the number of the component, for parts that have several, from 0.
	Index *int `json:"index,omitempty"`
	// Category and Type are what the TCB info calls the component, such as "BIOS" and "Early
	// Microcode Update". They may be empty.
	Category string `json:"category,omitempty"`
	Type     string `json:"type,omitempty"`
	// Have is the security version of the platform, and Need that of the best level of the TCB
	// info or of the identity. Both are 0 for parts without one.
	Have int `json:"have"`
	Need int `json:"need"`
	// Remedy is what mends it, for people.
	Remedy string `json:"remedy"`
}

// ShortPart is a part of a platform or of its configuration.
type ShortPart string

// The parts.
const (
	ShortSGXComponent   ShortPart = "SGX component"
	ShortTDXComponent   ShortPart = "TDX component"
	ShortPCE            ShortPart = "PCE"
	ShortQuotingEnclave ShortPart = "quoting enclave"
	ShortTDXModule      ShortPart = "TDX module"
	ShortConfiguration  ShortPart = "configuration"
	ShortHardening      ShortPart = "hardening"
)

// String returns the shortfall for people, without its remedy.
func (s Shortfall) String() string {
	text := string(s.Part)
	if s.Index != nil {
		text += fmt.Sprintf(" %d", *s.Index)
	}
	if names := strings.Trim(s.Category+", "+s.Type, ", "); names != "" {
		text += " (" + names + ")"
	}
	if s.Have == s.Need {
		return text
	}
	return fmt.Sprintf("%s: %d, want %d", text, s.Have, s.Need)
}

// shortfalls returns what is short of the best level of each part. The collateral is for the
// platform and for the TEE of the quote.
func (k *checkedCollateral) shortfalls(q *quote.Quote, platform *Platform) (all []Shortfall) {
	best := bestLevel(k.tcbInfo.Levels, func(l *tcbInfoLevel) TCBStatus { return l.Status })
	for i, need := range best.components {
		if have := platform.Components[i]; have < need {
			all = append(all, k.tcbInfo.short(ShortSGXComponent, i, have, need))
		}
	}
	if need := best.pceSVN; platform.PCESVN < need {
		all = append(all, Shortfall{Part: ShortPCE, Have: int(platform.PCESVN), Need: int(need),
			Remedy: "update the PCE (provisioning certification enclave), which is in the package of Intel's quoting enclaves"})
	}
	qe := bestLevel(k.qeIdentity.Levels, func(l *isvSVNLevel) TCBStatus { return l.Status })
	if have, need := q.Signature.QEReport.ISVSVN, qe.isvSVN; have < need {
		all = append(all, Shortfall{Part: ShortQuotingEnclave, Have: int(have), Need: int(need), Remedy: "update the package of the quoting enclave"})
	}
	if q.TD == nil {
		return all
	}
	launched := k.tdShortfalls(best, q.TD.TEETCBSVN)
	if q.TD.TDX15 != nil {
		now := k.tdShortfalls(best, q.TD.TDX15.TEETCBSVN2)
		for i := range launched {
			if !slices.ContainsFunc(now, launched[i].samePart) {
				launched[i].Remedy = "launch the trust domain again: the platform has been updated since"
			}
		}
	}
	return append(all, launched...)
}

// tdShortfalls returns what is short in the security versions of a trust domain.
func (k *checkedCollateral) tdShortfalls(best *tcbInfoLevel, td tdx.TCBSVN) (all []Shortfall) {
	for i, need := range best.needed(td) {
		if have := td[i]; have < need {
			all = append(all, k.tcbInfo.short(ShortTDXComponent, i, have, need))
		}
	}
	if td.ModuleMajor() == 0 {
		return all
	}
	identity, err := k.tcbInfo.identity(td.ModuleMajor())
	if err != nil {
		return all // the TCB status has failed for it
	}
	level := bestLevel(identity.Levels, func(l *isvSVNLevel) TCBStatus { return l.Status })
	if have, need := td.ModuleMinor(), level.isvSVN; uint16(have) < need {
		all = append(all, Shortfall{Part: ShortTDXModule, Type: identity.ID, Have: int(have), Need: int(need), Remedy: "update the TDX module (the SEAM module)"})
	}
	return all
}

// statusShortfalls returns what is short besides updates, by a TCB status.
func statusShortfalls(status TCBStatus) (all []Shortfall) {
	switch status {
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded, TDRelaunchAdvisedConfigurationNeeded:
		all = append(all, Shortfall{Part: ShortConfiguration, Remedy: "change the firmware (BIOS) setting that the advisories name, such as hyper-threading"})
	}
	switch status {
	case SWHardeningNeeded, ConfigurationAndSWHardeningNeeded:
		all = append(all, Shortfall{Part: ShortHardening, Remedy: "build the enclave with the mitigations that the advisories name: no update of the platform does it"})
	}
	return all
}

// samePart reports whether two shortfalls are of the same part.
func (s Shortfall) samePart(other Shortfall) bool {
	return s.Part == other.Part && (s.Index == nil) == (other.Index == nil) && (s.Index == nil || *s.Index == *other.Index)
}

// bestLevel returns the lowest of the levels with the best status. Levels are from highest to
// lowest, and there is at least one.
func bestLevel[L any](levels []L, status func(*L) TCBStatus) *L {
	rank := func(l *L) int { return slices.Index(statuses(), status(l)) }
	best := &levels[0]
	for i := range levels {
		if rank(&levels[i]) <= rank(best) {
			best = &levels[i]
		}
	}
	return best
}

// short returns the shortfall of a component, with the names that the TCB info has for it.
func (t *tcbInfo) short(part ShortPart, index int, have, need uint8) Shortfall {
	s := Shortfall{Part: part, Index: &index, Have: int(have), Need: int(need)}
	name := t.sgxNames[index]
	if part == ShortTDXComponent {
		name = t.tdxNames[index]
	}
	s.Category, s.Type = name.category, name.kind
	s.Remedy = remedy(s.Category, s.Type)
	return s
}

// remedy returns what raises the security version of a component. The names are those of Intel's
// TCB info.
func remedy(category, kind string) string {
	switch {
	case strings.Contains(kind, "Late Microcode"):
		return "update the microcode, with the BIOS or the operating system"
	case strings.Contains(kind, "Microcode"):
		return "update the microcode, with the BIOS"
	case strings.Contains(kind, "TDX Module"):
		return "update the TDX module (the SEAM module)"
	case strings.Contains(kind, "SEAMLDR"):
		return "update the SEAM loader, with the BIOS or the operating system"
	case category == "BIOS":
		return "update the BIOS"
	case kind != "":
		return "update the " + kind + ", with the BIOS or the operating system"
	}
	return "update the BIOS, which has the microcode: the TCB info does not name the component"
}
