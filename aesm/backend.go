package aesm

import (
	"regexp"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
)

// Backend describes what makes the quotes of a daemon. All that it says is in every quote as
// well, so that who may ask for quotes learns nothing more, but here it needs no enclave.
//
// It is no part of Intel's protocol: daemons of confcom describe theirs to clients that ask
// for it, and other daemons ignore the question.
type Backend struct {
	// Kind is the kind of the backend, such as dcap or simulated; empty for a daemon that
	// does not describe its backend. It has lower-case letters, digits and hyphens.
	Kind string
	// Certified is whether the daemon knows the certificate that quotes carry: the PCK
	// certificate. Components and PCESVN are its TCB, and otherwise zero.
	Certified  bool
	Components [16]uint8
	PCESVN     uint16
}

// kindPattern matches what Backend.Kind may be. The kind ends up in logs and events.
var kindPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// message returns the message for a backend, or nil if there is nothing to describe.
func (b Backend) message() *message.Backend {
	if b.Kind == "" {
		return nil
	}
	m := &message.Backend{Kind: proto.String(b.Kind)}
	if b.Certified {
		m.TcbComponents = b.Components[:]
		m.PceSvn = proto.Uint32(uint32(b.PCESVN))
	}
	return m
}

// parseBackend reads a message, which may be nil.
func parseBackend(m *message.Backend) (b Backend, ok bool) {
	if m == nil {
		return Backend{}, true
	}
	b.Kind = m.GetKind()
	if !kindPattern.MatchString(b.Kind) {
		return Backend{}, false
	}
	if m.TcbComponents == nil && m.PceSvn == nil {
		return b, true
	}
	if len(m.TcbComponents) != len(b.Components) || m.PceSvn == nil || m.GetPceSvn() > 0xffff {
		return Backend{}, false
	}
	b.Certified, b.Components, b.PCESVN = true, [16]uint8(m.TcbComponents), uint16(m.GetPceSvn())
	return b, true
}
