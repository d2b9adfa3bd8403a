package nodestatus

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// origin is what makes the quotes of a node, as the daemon at the AESM socket shows it to a
// client. The condition of the node has it in its message, where it outlives this daemon and
// the node's reboot: that is when the TCB changes.
type origin struct {
	backend string          // its kind, empty if the daemon does not describe it
	enclave sgx.Measurement // of the quoting enclave
	key     [keySize]byte   // the beginning of the ID of the attestation key
	// The TCB of the certificate that quotes carry, if the daemon knows it.
	certified  bool
	components [16]uint8
	pceSVN     uint16
}

// keySize is how many bytes of the key's ID tell keys apart.
const keySize = 8

// originMark is what an origin follows in the message of the condition.
const originMark = ". Last quotes: "

// unknownBackend is the text for a backend that is not described.
const unknownBackend = "unknown"

func originOf(ready aesm.Initialized) origin {
	b := ready.Backend
	return origin{b.Kind, ready.TargetInfo.MREnclave, [keySize]byte(ready.PublicKeyID[:]), b.Certified, b.Components, b.PCESVN}
}

func (o origin) String() string {
	kind := o.backend
	if kind == "" {
		kind = unknownBackend
	}
	text := fmt.Sprintf("backend %s, MRENCLAVE %x, key %x", kind, o.enclave[:], o.key)
	if o.certified {
		text += ", " + o.tcb()
	}
	return text
}

// tcb returns the TCB as it is in an origin.
func (o origin) tcb() string { return fmt.Sprintf("TCB %x, PCE SVN %d", o.components, o.pceSVN) }

// originPattern matches an origin.
var originPattern = regexp.MustCompile(`^backend ([a-z0-9-]{1,32}), MRENCLAVE ([0-9a-f]{64}), key ([0-9a-f]{16})(?:, TCB ([0-9a-f]{32}), PCE SVN ([0-9]{1,5}))?$`)

// parseOrigin reads the origin from the message of a condition, if there is one.
func parseOrigin(message string) (o origin, found bool) {
	i := strings.LastIndex(message, originMark)
	if i < 0 {
		return origin{}, false
	}
	m := originPattern.FindStringSubmatch(message[i+len(originMark):])
	if m == nil {
		return origin{}, false
	}
	if o.backend = m[1]; o.backend == unknownBackend {
		o.backend = ""
	}
	// The pattern has checked digits and lengths.
	_, _ = hex.Decode(o.enclave[:], []byte(m[2]))
	_, _ = hex.Decode(o.key[:], []byte(m[3]))
	if m[4] != "" {
		svn, err := strconv.ParseUint(m[5], 10, 16)
		if err != nil {
			return origin{}, false
		}
		_, _ = hex.Decode(o.components[:], []byte(m[4]))
		o.certified, o.pceSVN = true, uint16(svn)
	}
	return o, true
}

// after returns the origin that follows before: o, with the TCB of before if that is not
// known now and nothing shows that it is another one.
func (o origin) after(before origin) origin {
	if !o.certified && o.backend == before.backend && o.enclave == before.enclave && o.key == before.key {
		o.certified, o.components, o.pceSVN = before.certified, before.components, before.pceSVN
	}
	return o
}

// changeFrom returns the event for the change from before to o, if an administrator must know
// of it: the first that applies, as each of these changes brings those that follow.
func (o origin) changeFrom(before origin) (event condition, changed bool) {
	event = condition{kind: quotesCondition, available: true}
	switch {
	case before.backend != "" && o.backend != before.backend:
		event.reason = "QuoteBackendChanged"
		event.message = fmt.Sprintf("something else makes the quotes. Now: %s. Before: %s", o, before)
		if o.backend == simulatedBackend {
			event.warning = true
			event.message += ". Quotes of a simulated platform prove nothing, and verifiers refuse them unless they trust the simulated root"
		}
	case o.enclave != before.enclave:
		event.reason = "QuotingEnclaveChanged"
		event.message = fmt.Sprintf("quotes come from another quoting enclave: MRENCLAVE %s, before %s. Reports for the former one are refused, and clients call InitQuoteEx again", o.enclave, before.enclave)
		if o.certified && before.certified && o.tcb() != before.tcb() {
			event.message += fmt.Sprintf(". The certificate is for another TCB as well: %s, before %s", o.tcb(), before.tcb())
		}
	case o.certified && before.certified && o.tcb() != before.tcb():
		event.reason = "QuoteTCBChanged"
		event.message = fmt.Sprintf("the certificate in quotes is for another TCB: %s, before %s. 'confcom quote verify' shows the status of a quote", o.tcb(), before.tcb())
		if o.isLowerThan(before) {
			event.warning = true
			event.message = fmt.Sprintf("the certificate in quotes is for a lower TCB: %s, before %s. Verifiers may refuse the quotes. Find out whether the firmware of the node, the quoting enclave's packages or the certificate service have gone back to a former version", o.tcb(), before.tcb())
		}
	case o.key != before.key:
		event.reason = "AttestationKeyChanged"
		event.message = fmt.Sprintf("the quoting enclave has another key: %x, before %x. It has one for each version of microcode and firmware", o.key, before.key)
		if o.certified {
			event.message += ". The certificate in quotes is for the same TCB as before"
		}
	default:
		return condition{}, false
	}
	return event, true
}

// simulatedBackend is the kind of backend that simulates a platform.
const simulatedBackend = "simulated"

// isLowerThan reports whether a part of the TCB is lower than before, and none is higher.
func (o origin) isLowerThan(before origin) bool {
	if o.pceSVN > before.pceSVN {
		return false
	}
	for i, svn := range o.components {
		if svn > before.components[i] {
			return false
		}
	}
	return o.tcb() != before.tcb()
}
