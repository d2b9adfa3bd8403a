package attest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// tdxModule is what the TCB info expects of the TDX module.
type tdxModule struct {
	MRSigner   *tdx.Measurement
	Attributes *hex8
	// Mask is not used, as in Intel's library: all attributes must be zero.
	Mask *hex8
}

// member reads a member, and reports whether it is one of these.
func (m *tdxModule) member(r *jsonReader, name []byte) bool {
	switch string(name) {
	case "mrsigner":
		m.MRSigner = new(tdx.Measurement)
		r.into(m.MRSigner)
	case "attributes":
		m.Attributes = new(hex8)
		r.into(m.Attributes)
	case "attributesMask":
		m.Mask = new(hex8)
		r.into(m.Mask)
	default:
		return false
	}
	return true
}

func readTDXModule(r *jsonReader) *tdxModule {
	m := new(tdxModule)
	r.object(func(name []byte) {
		if !m.member(r, name) {
			r.skip()
		}
	})
	return m
}

// tdxModuleIdentity is what the TCB info expects of the TDX module of one major version,
// and the status of its security versions.
type tdxModuleIdentity struct {
	ID string // TDX_01 for major version 1
	tdxModule
	Levels []isvSVNLevel // from highest to lowest
}

func readTDXModuleIdentity(r *jsonReader) (m tdxModuleIdentity) {
	r.object(func(name []byte) {
		switch {
		case string(name) == "id":
			m.ID = r.string()
		case string(name) == "tcbLevels":
			m.Levels = readISVSVNLevels(r)
		case !m.tdxModule.member(r, name):
			r.skip()
		}
	})
	return m
}

// checkModules checks that nothing is missing in the parts about TDX modules, and that TCB
// info for SGX does not have them.
func (t *tcbInfo) checkModules() error {
	if t.tee == quote.SGX {
		if t.Module != nil || t.Modules != nil {
			return errors.New("TDX modules in TCB info for SGX")
		}
		return nil
	}
	if t.Module == nil {
		return errors.New("tdxModule is missing")
	}
	if err := t.Module.check(); err != nil {
		return fmt.Errorf("tdxModule: %w", err)
	}
	if t.Modules != nil && len(t.Modules) == 0 {
		return errors.New("tdxModuleIdentities is empty")
	}
	seen := make(map[string]bool)
	for _, m := range t.Modules {
		if m.ID == "" || seen[strings.ToUpper(m.ID)] {
			return fmt.Errorf("tdxModuleIdentities: id %q is empty or occurs twice", m.ID)
		}
		seen[strings.ToUpper(m.ID)] = true
		if err := m.check(); err != nil {
			return fmt.Errorf("TDX module identity %s: %w", m.ID, err)
		}
		if err := parseISVSVNLevels(m.Levels); err != nil {
			return fmt.Errorf("TDX module identity %s: %w", m.ID, err)
		}
	}
	return nil
}

func (m *tdxModule) check() error {
	if m.MRSigner == nil || m.Attributes == nil || m.Mask == nil {
		return errors.New("mrsigner, attributes or attributesMask is missing")
	}
	return nil
}

// identity returns the identity of the TDX module of a major version.
func (t *tcbInfo) identity(major uint8) (*tdxModuleIdentity, error) {
	id := fmt.Sprintf("TDX_%02X", major)
	for i := range t.Modules {
		if strings.ToUpper(t.Modules[i].ID) == id {
			return &t.Modules[i], nil
		}
	}
	return nil, fmt.Errorf("the TCB info has no identity %s: it does not know major version %d of the TDX module", id, major)
}

// checkTDXModule checks that the TDX module that launched a trust domain is the one in the
// TCB info. Its status is part of the TCB status.
func (k *checkedCollateral) checkTDXModule(td *tdx.ReportBody) Check {
	detail := fmt.Sprintf("version %d, security version %d, MRSEAM %s", td.TEETCBSVN.ModuleMajor(), td.TEETCBSVN.ModuleMinor(), td.MRSEAM)
	return newCheck(CheckTDXModule, detail, k.tdxModule(td))
}

func (k *checkedCollateral) tdxModule(td *tdx.ReportBody) error {
	if k.tcbInfo == nil || k.tcbInfo.tee != quote.TDX {
		return errors.New("cannot identify the TDX module: the collateral has no valid TCB info for TDX")
	}
	want := k.tcbInfo.Module
	// Since version 1, each major version has an identity of its own.
	if major := td.TEETCBSVN.ModuleMajor(); major > 0 {
		identity, err := k.tcbInfo.identity(major)
		if err != nil {
			return err
		}
		want = &identity.tdxModule
	}
	switch {
	case td.MRSignerSEAM != *want.MRSigner:
		return fmt.Errorf("the TDX module has MRSIGNERSEAM %s, want %s", td.MRSignerSEAM, want.MRSigner)
	case td.SEAMAttributes != 0:
		return fmt.Errorf("the TDX module has SEAMATTRIBUTES %s, want zero", td.SEAMAttributes)
	case *want.Attributes != hex8{}:
		return fmt.Errorf("the TCB info expects SEAMATTRIBUTES %x of the TDX module, want zero", *want.Attributes)
	}
	return nil
}

// isvSVNLevel is a level of an identity: of a quoting enclave or a TDX module.
type isvSVNLevel struct {
	levelStatus
	isvSVN uint16
	found  bool // in the text
}

func readISVSVNLevels(r *jsonReader) []isvSVNLevel {
	levels := make([]isvSVNLevel, 0, 8)
	r.array(func() {
		var l isvSVNLevel
		r.object(func(name []byte) {
			switch {
			case string(name) == "tcb":
				r.object(func(name []byte) {
					if string(name) != "isvsvn" {
						r.skip()
						return
					}
					l.isvSVN, l.found = uint16(r.number(math.MaxUint16)), true
				})
			case !l.levelStatus.member(r, name):
				r.skip()
			}
		})
		levels = append(levels, l)
	})
	return levels
}

// parseISVSVNLevels checks that levels are complete, and sorts them.
func parseISVSVNLevels(levels []isvSVNLevel) error {
	for i, l := range levels {
		if !l.found {
			return fmt.Errorf("TCB level %d has no isvsvn", i)
		}
		if err := l.levelStatus.check(); err != nil {
			return err
		}
	}
	return sortLevels(levels, isvSVNLevel.compare)
}

func (l isvSVNLevel) compare(other isvSVNLevel) int {
	return cmp.Compare(l.isvSVN, other.isvSVN)
}

// reachedLevel returns the highest level that a security version reaches, or nil.
func reachedLevel(levels []isvSVNLevel, svn uint16) *isvSVNLevel {
	for i := range levels {
		if svn >= levels[i].isvSVN {
			return &levels[i]
		}
	}
	return nil
}
