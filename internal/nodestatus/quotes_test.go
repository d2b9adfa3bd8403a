package nodestatus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/nodeguard"
)

// aesmSocket answers probes.
type aesmSocket struct {
	mu       sync.Mutex
	err      error // the answer
	enclave  byte  // of the quoting enclave
	key      byte  // of the attestation key
	backend  aesm.Backend
	size     error // the answer to QuoteSize
	requests int
}

func (a *aesmSocket) InitQuote(context.Context, aesm.KeyID) (ready aesm.Initialized, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	ready.TargetInfo.MREnclave[0] = a.enclave
	ready.PublicKeyID[0] = a.key
	ready.Backend = a.backend
	return ready, a.err
}

func (a *aesmSocket) QuoteSize(context.Context, aesm.KeyID) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return 4000, a.size
}

// answer sets the answer, and waits for that many probes.
func (a *aesmSocket) answer(err error, enclave byte, probes int) {
	a.mu.Lock()
	a.err, a.enclave = err, enclave
	a.mu.Unlock()
	time.Sleep(time.Duration(probes) * (probeInterval + probeInterval/10))
	synctest.Wait()
}

// become sets what makes the quotes, and waits for the next probes.
func (a *aesmSocket) become(b aesm.Backend, key byte) {
	a.mu.Lock()
	a.backend, a.key = b, key
	a.mu.Unlock()
	a.answer(nil, 1, 2)
}

// runQuotes runs a quotesWriter in fake time during a test.
func runQuotes(t *testing.T, socket prober, state epc.State, p *patches, test func(log *bytes.Buffer, registry *prometheus.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		log, registry := new(bytes.Buffer), prometheus.NewRegistry()
		q := &quotesWriter{
			nodeClient: nodeClient{
				node: "node-1", nodes: p, events: p, guard: newGuard("node-1", p), limit: newEventLimit(),
				log:     slog.New(slog.NewTextHandler(log, nil)),
				metrics: NewMetrics(registry),
			},
			socket: socket,
			read:   func() (epc.Advertisement, error) { return epc.Advertisement{State: state}, nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { q.run(ctx) })
		synctest.Wait()
		test(log, registry)
		cancel()
		running.Wait()
	})
}

// absent is the error of a socket that does not exist.
var absent error = &aesm.TransportError{Op: aesm.KindInitQuoteEx, Socket: "/s", Err: fs.ErrNotExist}

func TestQuotesCondition(t *testing.T) {
	const metric = "sgx_node_resource_quotes_available"
	for _, tt := range []struct {
		name  string
		err   error
		state epc.State
		want  string // reason, status and events
		text  string // in the message
	}{
		{"quotes", nil, epc.StateDevices, "SocketAnswers True: Normal SocketAnswers", "makes quotes"},
		{"no helper", absent, epc.StateDevices, "NoQuoteHelper False: Warning NoQuoteHelper", "check the pod of sgx-quote-helper"},
		{"stale socket", &aesm.TransportError{Err: syscall.ECONNREFUSED}, epc.StateNode, "NoQuoteHelper False: Warning NoQuoteHelper", "nothing serves"},
		{"no SGX", absent, epc.StateNone, "NoSGX False: Normal NoSGX", "no EPC"},
		{"no SGX, but an answer", aesm.CodeNoDevice, epc.StateNone, "NoDeviceError False: Warning NoDeviceError", "check the BIOS setting"},
		{"not registered", &aesm.Error{Code: aesm.CodeNoPlatformCertData}, epc.StateDevices, "NoPlatformCertDataError False: Warning NoPlatformCertDataError", "NO_PLATFORM_CERT_DATA (44): "},
		{"unknown code", aesm.Code(4711), epc.StateDevices, "UnknownError False: Warning UnknownError", "Code(4711) (4711). The log"},
		{"hangs", &aesm.TransportError{Err: context.DeadlineExceeded}, epc.StateDevices, "NoAnswer False: Warning NoAnswer", "overloaded"},
		{"no permission", &aesm.TransportError{Err: fs.ErrPermission}, epc.StateNone, "NoAnswer False: Warning NoAnswer", "no permission"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, socket := &patches{guard: refused}, &aesmSocket{err: tt.err}
			runQuotes(t, socket, tt.state, p, func(_ *bytes.Buffer, registry *prometheus.Registry) {
				if _, events := p.has(); tt.err != nil && events != "" {
					t.Errorf("after one failure: %s", events)
				}
				socket.answer(tt.err, 0, 1)
				condition, events := p.has()
				if got := condition + ": " + events; got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
				series := "\n# HELP " + metric + " 1 while clients of the node's AESM socket can get quotes, else 0. It does not exist on a node without SGX, and before it is known.\n# TYPE " + metric + " gauge\n" + metric + map[bool]string{true: " 1\n", false: " 0\n"}[tt.err == nil]
				if strings.HasPrefix(tt.want, "NoSGX ") {
					series = ""
				}
				if err := testutil.GatherAndCompare(registry, strings.NewReader(series), metric); err != nil {
					t.Error(err)
				}
				if text := fmt.Sprint(p.condition["message"]); !strings.Contains(text, tt.text) || p.condition["type"] != "SGXQuotesAvailable" {
					t.Errorf("condition %v, want a message with %q", p.condition, tt.text)
				}
			})
		})
	}
}

// TestQuotesChange follows a node over time.
func TestQuotesChange(t *testing.T) {
	p, socket := &patches{guard: refused}, &aesmSocket{enclave: 1}
	runQuotes(t, socket, epc.StateDevices, p, func(log *bytes.Buffer, _ *prometheus.Registry) {
		expect := func(when, want, wantEvents string) {
			t.Helper()
			condition, events := p.has()
			if condition != want || events != wantEvents {
				t.Errorf("%s: %s and %s, want %s and %s", when, condition, events, want, wantEvents)
			}
			p.mu.Lock()
			p.events = nil
			p.mu.Unlock()
		}
		expect("at first", "SocketAnswers True", "Normal SocketAnswers")
		began := p.condition["lastTransitionTime"]
		socket.answer(absent, 1, 1)
		socket.answer(nil, 1, 1)
		expect("one failure", "SocketAnswers True", "")
		socket.answer(aesm.CodeBusy, 1, 20)
		expect("busy for long", "SocketAnswers True", "")
		socket.answer(nil, 1, 60)
		if p.condition["lastHeartbeatTime"] == began || p.condition["lastTransitionTime"] != began {
			t.Errorf("no heartbeat: %v", p.condition)
		}
		socket.answer(nil, 2, 2)
		expect("another quoting enclave", "SocketAnswers True", "Normal QuotingEnclaveChanged")
		socket.mu.Lock()
		socket.size = aesm.CodeNetwork
		socket.mu.Unlock()
		socket.answer(nil, 2, 3)
		expect("no size", "NetworkError False", "Warning NetworkError")
		socket.mu.Lock()
		socket.size = nil
		socket.mu.Unlock()
		socket.answer(nil, 2, 2)
		expect("quotes again", "SocketAnswers True", "Normal SocketAnswers")

		p.answerCheck(nil) // the policy is gone
		time.Sleep(nodeguard.CheckInterval)
		p.take()
		socket.answer(absent, 2, 30)
		expect("unguarded", "SocketAnswers True", "")
		p.answerCheck(refused)
		socket.answer(absent, 2, 2)
		expect("guarded again", "NoQuoteHelper False", "Warning NoQuoteHelper")

		p.fail(errors.New("API server away"))
		socket.answer(nil, 2, 50)
		if n := strings.Count(log.String(), "write node condition failed"); n != 1 {
			t.Errorf("%d lines about the API server, want 1:\n%s", n, log)
		}
		p.fail(nil)
		socket.answer(nil, 2, 2)
		expect("the API server is back", "SocketAnswers True", "Normal SocketAnswers")
	})
}

// TestNoSocket shows that a condition of before does not stay where nobody probes.
func TestNoSocket(t *testing.T) {
	for _, tt := range []struct {
		had  string
		want string
	}{
		{"SGXQuotesAvailable", "map[$patch:delete type:SGXQuotesAvailable]"},
		{"SGXEPCAvailable", "map[type:SGXEPCAvailable]"},
	} {
		p := &patches{guard: refused, condition: map[string]any{"type": tt.had}}
		if tt.had == "SGXQuotesAvailable" {
			p.condition["status"] = "True"
		}
		runQuotes(t, nil, epc.StateDevices, p, func(*bytes.Buffer, *prometheus.Registry) {
			if got := fmt.Sprint(p.condition); got != tt.want {
				t.Errorf("%s: condition %s, want %s", tt.had, got, tt.want)
			}
			text, _ := json.Marshal(p.events)
			if len(p.events) > 0 {
				t.Errorf("%s: events %s", tt.had, text)
			}
		})
	}
}
