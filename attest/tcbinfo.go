package attest

import (
	"encoding/json"
	"fmt"
)

// tcbInfo is the status of the security versions of a family of platforms: PCS API v4, TCB
// info version 3.
type tcbInfo struct {
	issued
	FMSPC  hex6           `json:"fmspc"`
	PCEID  hex2           `json:"pceId"`
	Type   int            `json:"tcbType"`
	Levels []tcbInfoLevel `json:"tcbLevels"` // from highest to lowest
}

type tcbInfoLevel struct {
	TCB struct {
		Components []struct {
			SVN *uint8 `json:"svn"`
		} `json:"sgxtcbcomponents"`
		PCESVN *uint16 `json:"pcesvn"`
	} `json:"tcb"`
	levelStatus

	components [16]uint8
}

// parseTCBInfo reads a text whose signature has been verified.
func parseTCBInfo(text []byte) (*tcbInfo, error) {
	t := new(tcbInfo)
	if err := json.Unmarshal(text, t); err != nil {
		return nil, err
	}
	if err := t.check("SGX", 3); err != nil {
		return nil, err
	}
	if t.Type != 0 {
		return nil, fmt.Errorf("tcbType is %d, want 0: how to compare its levels is unknown", t.Type)
	}
	for i := range t.Levels {
		l := &t.Levels[i]
		if len(l.TCB.Components) != len(l.components) || l.TCB.PCESVN == nil {
			return nil, fmt.Errorf("TCB level %d has %d components or no pcesvn", i, len(l.TCB.Components))
		}
		for j, c := range l.TCB.Components {
			if c.SVN == nil {
				return nil, fmt.Errorf("component %d of TCB level %d has no svn", j, i)
			}
			l.components[j] = *c.SVN
		}
		if err := l.levelStatus.check(); err != nil {
			return nil, err
		}
	}
	if err := sortLevels(t.Levels, tcbInfoLevel.compare); err != nil {
		return nil, err
	}
	return t, nil
}
