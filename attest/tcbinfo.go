package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// tcbInfo is the status of the security versions of a family of platforms for one TEE: PCS
// API v4, TCB info version 3.
type tcbInfo struct {
	issued
	tee    quote.TEE
	FMSPC  hex6           `json:"fmspc"`
	PCEID  hex2           `json:"pceId"`
	Type   int            `json:"tcbType"`
	Levels []tcbInfoLevel `json:"tcbLevels"` // from highest to lowest

	// For TDX only.
	Module  *tdxModule          `json:"tdxModule"`
	Modules []tdxModuleIdentity `json:"tdxModuleIdentities"`

	names func() componentNames // of the components, read when they are needed
}

type tcbInfoLevel struct {
	TCB struct {
		Components    []component `json:"sgxtcbcomponents"`
		PCESVN        *uint16     `json:"pcesvn"`
		TDXComponents []component `json:"tdxtcbcomponents"` // for TDX only
	} `json:"tcb"`
	levelStatus

	components    [16]uint8
	tdxComponents tdx.TCBSVN
}

// component is a part of the TCB with a security version of its own.
type component struct {
	SVN *uint8 `json:"svn"`
}

// parseTCBInfo reads a text whose signature has been verified.
func parseTCBInfo(text []byte) (*tcbInfo, error) {
	t := new(tcbInfo)
	if err := json.Unmarshal(text, t); err != nil {
		return nil, err
	}
	if err := checkDepth(text); err != nil {
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
		if err := t.Levels[i].parse(t.tee); err != nil {
			return nil, fmt.Errorf("TCB level %d: %w", i, err)
		}
	}
	if err := sortLevels(t.Levels, tcbInfoLevel.compare); err != nil {
		return nil, err
	}
	if err := t.checkModules(); err != nil {
		return nil, err
	}
	t.names = sync.OnceValue(func() componentNames { return readNames(text) })
	return t, nil
}

// parse checks that a level is complete, and sets its components.
func (l *tcbInfoLevel) parse(tee quote.TEE) error {
	if l.TCB.PCESVN == nil {
		return errors.New("pcesvn is missing")
	}
	var err error
	if l.components, err = svns(l.TCB.Components); err != nil {
		return fmt.Errorf("sgxtcbcomponents: %w", err)
	}
	switch {
	case tee == quote.SGX && l.TCB.TDXComponents != nil:
		return errors.New("TDX components in TCB info for SGX")
	case tee == quote.TDX:
		if l.tdxComponents, err = svns(l.TCB.TDXComponents); err != nil {
			return fmt.Errorf("tdxtcbcomponents: %w", err)
		}
	}
	return l.levelStatus.check()
}

// svns returns the security versions of components.
func svns(components []component) (list [16]uint8, err error) {
	if len(components) != len(list) {
		return list, fmt.Errorf("%d components, want %d", len(components), len(list))
	}
	for i, c := range components {
		if c.SVN == nil {
			return list, fmt.Errorf("component %d has no svn", i)
		}
		list[i] = *c.SVN
	}
	return list, nil
}
