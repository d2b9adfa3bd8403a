package attest

import (
	"errors"
	"fmt"
	"math"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// tcbInfo is the status of the security versions of a family of platforms for one TEE: PCS
// API v4, TCB info version 3.
type tcbInfo struct {
	issued
	tee    quote.TEE
	FMSPC  hex6
	PCEID  hex2
	Type   uint64
	Levels []tcbInfoLevel // from highest to lowest

	// For TDX only.
	Module  *tdxModule
	Modules []tdxModuleIdentity

	// The names of the components, which are for people; empty if the text has none.
	sgxNames, tdxNames [16]componentName
}

// tcbInfoLevel is a TCB level of TCB info.
type tcbInfoLevel struct {
	levelStatus
	components    [16]uint8
	pceSVN        uint16
	tdxComponents tdx.TCBSVN // for TDX only

	found struct{ components, pceSVN, tdxComponents bool } // in the text
}

// componentName is what TCB info calls a component.
type componentName struct{ category, kind string }

// parseTCBInfo reads a text whose signature has been verified.
func parseTCBInfo(text []byte) (*tcbInfo, error) {
	t := new(tcbInfo)
	r := &jsonReader{text: text}
	r.object(func(name []byte) {
		switch string(name) {
		case "fmspc":
			r.into(&t.FMSPC)
		case "pceId":
			r.into(&t.PCEID)
		case "tcbType":
			t.Type = r.number(math.MaxInt32)
		case "tcbLevels":
			t.Levels = make([]tcbInfoLevel, 0, 16)
			r.array(func() { t.Levels = append(t.Levels, t.readLevel(r)) })
		case "tdxModule":
			t.Module = readTDXModule(r)
		case "tdxModuleIdentities":
			t.Modules = make([]tdxModuleIdentity, 0, 4)
			r.array(func() { t.Modules = append(t.Modules, readTDXModuleIdentity(r)) })
		default:
			if !t.issued.member(r, name) {
				r.skip()
			}
		}
	})
	if err := r.end(); err != nil {
		return nil, err
	}
	var err error
	if t.tee, err = t.check("SGX", "TDX", 3); err != nil {
		return nil, err
	}
	if t.Type != 0 {
		return nil, fmt.Errorf("tcbType is %d, want 0: how to compare its levels is unknown", t.Type)
	}
	for i := range t.Levels {
		if err := t.Levels[i].check(t.tee); err != nil {
			return nil, fmt.Errorf("TCB level %d: %w", i, err)
		}
	}
	if err := sortLevels(t.Levels, tcbInfoLevel.compare); err != nil {
		return nil, err
	}
	if err := t.checkModules(); err != nil {
		return nil, err
	}
	return t, nil
}

// readLevel reads a TCB level, and the names of components.
func (t *tcbInfo) readLevel(r *jsonReader) (l tcbInfoLevel) {
	r.object(func(name []byte) {
		switch {
		case string(name) == "tcb":
			r.object(func(name []byte) {
				switch string(name) {
				case "sgxtcbcomponents":
					l.components, l.found.components = readComponents(r, string(name), &t.sgxNames), true
				case "tdxtcbcomponents":
					l.tdxComponents, l.found.tdxComponents = readComponents(r, string(name), &t.tdxNames), true
				case "pcesvn":
					l.pceSVN, l.found.pceSVN = uint16(r.number(math.MaxUint16)), true
				default:
					r.skip()
				}
			})
		case !l.levelStatus.member(r, name):
			r.skip()
		}
	})
	return l
}

// readComponents reads 16 components, each with a security version of its own. It keeps the first
// names that a text has.
func readComponents(r *jsonReader, list string, names *[16]componentName) (svns [16]uint8) {
	n := 0
	r.array(func() {
		if n++; n > len(svns) {
			r.skip()
			return
		}
		found := false
		r.object(func(name []byte) {
			switch {
			case string(name) == "svn":
				svns[n-1], found = uint8(r.number(math.MaxUint8)), true
			case string(name) == "category" && names[n-1].category == "":
				names[n-1].category = r.string()
			case string(name) == "type" && names[n-1].kind == "":
				names[n-1].kind = r.string()
			default:
				r.skip()
			}
		})
		if !found {
			r.fail(fmt.Errorf("%s: component %d has no svn", list, n-1))
		}
	})
	if n != len(svns) {
		r.fail(fmt.Errorf("%s: %d components, want %d", list, n, len(svns)))
	}
	return svns
}

// check checks that a level is complete.
func (l *tcbInfoLevel) check(tee quote.TEE) error {
	switch {
	case !l.found.components:
		return errors.New("sgxtcbcomponents is missing")
	case !l.found.pceSVN:
		return errors.New("pcesvn is missing")
	case tee == quote.SGX && l.found.tdxComponents:
		return errors.New("TDX components in TCB info for SGX")
	case tee == quote.TDX && !l.found.tdxComponents:
		return errors.New("tdxtcbcomponents is missing")
	}
	return l.levelStatus.check()
}
