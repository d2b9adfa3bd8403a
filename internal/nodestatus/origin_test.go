package nodestatus

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

// certified returns the description of a backend with a certificate for a TCB.
func certified(kind string, component uint8, pceSVN uint16) aesm.Backend {
	b := aesm.Backend{Kind: kind, Certified: true, PCESVN: pceSVN}
	b.Components[15] = component
	return b
}

func originWith(b aesm.Backend, enclave, key byte) origin {
	return originOf(aesm.Initialized{
		TargetInfo:  sgx.TargetInfo{MREnclave: sgx.Measurement{enclave}},
		PublicKeyID: [aesm.PublicKeyIDSize]byte{key},
		Backend:     b,
	})
}

// An origin is read from the message that it was written into, whatever is before it.
func TestOriginIsRecalled(t *testing.T) {
	for _, b := range []aesm.Backend{{}, {Kind: "upstream"}, certified("dcap", 0xff, 0xffff), certified("simulated", 0, 0)} {
		want := originWith(b, 0xab, 0xcd)
		for _, before := range []string{"", "nothing serves" + originMark + "backend x"} {
			if got, found := parseOrigin(before + originMark + want.String()); !found || got != want {
				t.Errorf("%s: %+v, %t, want %+v", want, got, found, want)
			}
		}
	}
	text := originMark + originWith(certified("dcap", 1, 13), 1, 2).String()
	for _, message := range []string{
		"", "the daemon at the AESM socket makes quotes", strings.TrimPrefix(text, ". "), text + " and more", text[:len(text)-1] + "70000",
		strings.Replace(text, "dcap", "DCAP", 1), strings.Replace(text, "01", "0g", 1), strings.Replace(text, ", key ", ", ", 1), strings.Replace(text, "TCB 00", "TCB ", 1),
	} {
		if got, found := parseOrigin(message); found {
			t.Errorf("%q: %+v", message, got)
		}
	}
}

func TestOriginChange(t *testing.T) {
	dcap, simulated := certified("dcap", 10, 13), certified("simulated", 1, 11)
	unknown := aesm.Backend{Kind: "dcap"}
	mixed := certified("dcap", 11, 12)
	for _, tt := range []struct {
		name        string
		before, now origin
		want        string // its type and reason, "" for no event
		text        string // in its message
	}{
		{"nothing", originWith(dcap, 1, 1), originWith(dcap, 1, 1), "", ""},
		{"hardware", originWith(simulated, 1, 1), originWith(dcap, 2, 2), "Normal QuoteBackendChanged", "Now: backend dcap, MRENCLAVE 02"},
		{"a simulation", originWith(dcap, 1, 1), originWith(simulated, 2, 2), "Warning QuoteBackendChanged", "prove nothing"},
		{"a daemon of others", originWith(dcap, 1, 1), originWith(aesm.Backend{}, 1, 1), "Normal QuoteBackendChanged", "Now: backend unknown, "},
		{"a daemon that describes itself", originWith(aesm.Backend{}, 1, 1), originWith(dcap, 1, 1), "", ""},
		{"a quoting enclave", originWith(dcap, 1, 1), originWith(dcap, 2, 2), "Normal QuotingEnclaveChanged", "clients call InitQuoteEx again"},
		{"a quoting enclave with a PCE", originWith(dcap, 1, 1), originWith(certified("dcap", 10, 15), 2, 2), "Normal QuotingEnclaveChanged", "another TCB as well: TCB 0000000000000000000000000000000a, PCE SVN 15, before"},
		{"a PCE", originWith(dcap, 1, 1), originWith(certified("dcap", 10, 15), 1, 1), "Normal QuoteTCBChanged", "PCE SVN 15, before TCB 0000000000000000000000000000000a, PCE SVN 13"},
		{"microcode", originWith(dcap, 1, 1), originWith(certified("dcap", 11, 13), 1, 2), "Normal QuoteTCBChanged", "TCB 0000000000000000000000000000000b"},
		{"an older PCE", originWith(dcap, 1, 1), originWith(certified("dcap", 10, 11), 1, 1), "Warning QuoteTCBChanged", "a lower TCB"},
		{"older microcode", originWith(dcap, 1, 1), originWith(certified("dcap", 9, 13), 1, 2), "Warning QuoteTCBChanged", "a lower TCB"},
		{"higher and lower", originWith(dcap, 1, 1), originWith(mixed, 1, 2), "Normal QuoteTCBChanged", "another TCB"},
		{"a key", originWith(dcap, 1, 1), originWith(dcap, 1, 2), "Normal AttestationKeyChanged", "for the same TCB as before"},
		{"a key of a daemon of others", originWith(aesm.Backend{}, 1, 1), originWith(aesm.Backend{}, 1, 2), "Normal AttestationKeyChanged", "another key: 0200000000000000, before 0100000000000000"},
		{"certificates that are known", originWith(unknown, 1, 1), originWith(dcap, 1, 1), "", ""},
		{"certificates that are not known", originWith(dcap, 1, 1), originWith(unknown, 1, 1), "", ""},
	} {
		event, changed := tt.now.changeFrom(tt.before)
		got := ""
		if changed {
			object, err := event.event("node-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprint(object.Object["type"], " ", event.reason)
		}
		if got != tt.want || !strings.Contains(event.message, tt.text) || len(event.message) > 1024 {
			t.Errorf("%s: %q, want %q: %s", tt.name, got, tt.want, event.message)
		}
	}
}

// A change is reported once, also one while this daemon or the whole node was down.
func TestOriginOverTime(t *testing.T) {
	dcap := certified("dcap", 10, 13)
	p, socket := &patches{guard: refused}, &aesmSocket{enclave: 1, key: 1, backend: dcap}
	expect := func(when, wantEvents, wantMessage string) {
		t.Helper()
		_, events := p.has()
		if message := fmt.Sprint(p.condition["message"]); events != wantEvents || !strings.HasSuffix(message, wantMessage) {
			t.Errorf("%s: events %s and %s, want %s and %s", when, events, message, wantEvents, wantMessage)
		}
		p.mu.Lock()
		p.events = nil
		p.mu.Unlock()
	}
	run := func(test func()) {
		runQuotes(t, socket, epc.StateDevices, p, func(*bytes.Buffer, *prometheus.Registry) { test() })
	}
	const raised = "key 0200000000000000, TCB 0000000000000000000000000000000b, PCE SVN 15"
	run(func() {
		expect("at first", "Normal SocketAnswers", ". Last quotes: backend dcap, MRENCLAVE 01"+strings.Repeat("00", 31)+", key 0100000000000000, TCB 0000000000000000000000000000000a, PCE SVN 13")
		socket.become(aesm.Backend{Kind: "dcap"}, 1)
		expect("while the certificate is not known", "", "PCE SVN 13")
		socket.become(dcap, 1)
		expect("it is known again", "", "PCE SVN 13")
		socket.answer(absent, 1, 2)
		expect("no helper", "Warning NoQuoteHelper", "on this node. Last quotes: backend dcap, MRENCLAVE 01"+strings.Repeat("00", 31)+", key 0100000000000000, TCB 0000000000000000000000000000000a, PCE SVN 13")
	})
	socket.backend, socket.key = certified("dcap", 11, 15), 2 // the node boots with new firmware
	run(func() {
		expect("the helper comes later", "", "PCE SVN 13")
		socket.answer(nil, 1, 2)
		expect("quotes again", "Normal SocketAnswers, Normal QuoteTCBChanged", raised)
		if !strings.Contains(p.message, "PCE SVN 15, before TCB 0000000000000000000000000000000a, PCE SVN 13") {
			t.Errorf("the event says %s", p.message)
		}
	})
	run(func() {
		socket.answer(nil, 1, 2)
		expect("only this daemon has restarted", "", raised)
		p.answerCheck(nil) // the policy is gone
		time.Sleep(time.Hour)
		socket.become(dcap, 1)
		expect("unguarded", "", raised)
		p.answerCheck(refused)
		p.fail(fmt.Errorf("API server away"))
		socket.become(dcap, 1)
		expect("while the API server is away", "", raised)
		p.fail(nil)
		socket.answer(nil, 1, 2)
		expect("later", "Warning QuoteTCBChanged", "PCE SVN 13")
	})
}

// A daemon of confcom at the socket says what makes its quotes.
func TestProber(t *testing.T) {
	backend, err := simulated.New("node-1")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := (&aesm.Server{Handler: quoting.NewService(backend, 1, nil)}).Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	q := &quotesWriter{socket: newProber(socket)}
	c, o, known := q.probe(t.Context())
	if !known || !c.available || o == nil || o.backend != simulatedBackend || !o.certified || o.pceSVN == 0 {
		t.Errorf("%+v, %v, %t", c, o, known)
	}
}

// A node that changes with every probe creates a bounded number of events.
func TestEventsAreBounded(t *testing.T) {
	p, socket := &patches{guard: refused}, &aesmSocket{enclave: 1}
	runQuotes(t, socket, epc.StateDevices, p, func(log *bytes.Buffer, _ *prometheus.Registry) {
		began := time.Now()
		for i := 0; time.Since(began) < time.Hour; i++ {
			socket.become(certified("dcap", uint8(i%2), 13), 1)
		}
		_, events := p.has()
		if n, most := strings.Count(events, "QuoteTCBChanged"), maxEvents+int(time.Since(began)/eventInterval); n < maxEvents || n > most {
			t.Errorf("%d events, want %d to %d", n, maxEvents, most)
		}
		if n := strings.Count(log.String(), "no event, there were too many"); n < 100 {
			t.Errorf("%d of the events that are missing are in the log", n)
		}
	})
}
