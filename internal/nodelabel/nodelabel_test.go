package nodelabel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/nodeguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The patches are tested against an API server in test/e2e.

var nodesGroup = schema.GroupResource{Resource: "nodes"}

const (
	sgxPatch   = `{"metadata":{"annotations":{"confcom.github.io/sgx-reason":"the processor has 8Gi of EPC"},"labels":{"confcom.github.io/sgx":"true"}}}`
	noSGXPatch = `{"metadata":{"annotations":{"confcom.github.io/sgx-reason":"the processor has no SGX, or the hypervisor hides it from this virtual machine: ` +
		`use a machine with SGX, such as an Azure DCsv3 or a Xeon of the third generation or later, or simulate EPC"},"labels":{"confcom.github.io/sgx":null}}}`
	checkPatch = `{"metadata":{"labels":{"confcom.github.io/forbidden":"true"}}}`
)

func withSGX() node.Inventory {
	return node.Inventory{Processor: &node.Processor{SGX: true, SGX1: true, FLC: true}, Sections: []node.Section{{Size: 8 << 30}}}
}

func withoutSGX() node.Inventory { return node.Inventory{Processor: &node.Processor{}} }

// refused is what the API server answers if the policy refuses a patch.
func refused() error {
	return apierrors.NewForbidden(nodesGroup, "node-1", errors.New("ValidatingAdmissionPolicy 'sgx-node-labeller' with binding 'sgx-node-labeller' denied request: no"))
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name string
		inv  node.Inventory
		want finding
	}{
		{"SGX", withSGX(), finding{true, "the processor has 8Gi of EPC"}},
		// The daemons that then run there report the missing driver, and use it once it is loaded.
		{"SGX without a driver or launch control", node.Inventory{Processor: &node.Processor{SGX: true, SGX1: true}, Sections: []node.Section{{Size: 1 << 20}}}, finding{true, "the processor has 1Mi of EPC"}},
		{"simulated", node.Inventory{Simulated: true, Sections: []node.Section{{Size: 64 << 20}}}, finding{true, "64Mi of EPC is simulated"}},
		{"a device without EPC", node.Inventory{Enclave: new(node.Device)}, finding{reason: "the SGX device exists, but neither the kernel nor CPUID reports any EPC"}},
		{"switched off", node.Inventory{Processor: &node.Processor{SGX: true}}, finding{reason: "the processor has SGX, but it is switched off"}},
		{"no EPC", node.Inventory{Processor: &node.Processor{SGX: true, SGX1: true}}, finding{reason: "the processor has SGX, but no EPC"}},
		{"none", withoutSGX(), finding{reason: "the processor has no SGX, or the hypervisor hides it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := find(c.inv); got.sgx != c.want.sgx || !strings.HasPrefix(got.reason, c.want.reason) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// fakeNode is the API server's part in a labeller, and the machine.
type fakeNode struct {
	mu     sync.Mutex
	inv    node.Inventory
	broken error // of the machine
	guard  error // returned for each dry run
	err    error // returned for each patch
	checks int
	got    []string
}

func (f *fakeNode) discover() (node.Inventory, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inv, f.broken
}

func (f *fakeNode) Patch(_ context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name != "node-1" || kind != types.MergePatchType || len(subresources) > 0 {
		return nil, fmt.Errorf("unexpected patch of %s %s %s", name, subresources, kind)
	}
	if len(options.DryRun) > 0 {
		f.checks++
		if string(patch) != checkPatch {
			return nil, fmt.Errorf("unexpected dry run %s", patch)
		}
		return nil, f.guard
	}
	f.got = append(f.got, string(patch))
	return nil, f.err
}

// set changes the fake under its lock.
func (f *fakeNode) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// take returns what was written since the last call, and how often the policy was checked.
func (f *fakeNode) take() (got []string, checks int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got, checks = f.got, f.checks
	f.got, f.checks = nil, 0
	return got, checks
}

// labelling runs a labeller on a fake node in a bubble.
func labelling(t *testing.T, f *fakeNode, test func(t *testing.T, w *labelWriter, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var health daemon.Health
		w := &labelWriter{
			node: "node-1", discover: f.discover, nodes: f, log: slog.New(slog.NewTextHandler(&log, nil)),
			known: health.Condition("machine"), written: health.Condition("node label"), metrics: NewMetrics(prometheus.NewRegistry()),
		}
		w.guard = w.newGuard()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		defer func() { cancel(); <-done }()
		synctest.Wait()
		test(t, w, &log)
	})
}

// expect checks what was written since the last call.
func expect(t *testing.T, f *fakeNode, what string, want ...string) {
	t.Helper()
	if got, _ := f.take(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestLabel(t *testing.T) {
	f := &fakeNode{inv: withSGX(), guard: refused()}
	labelling(t, f, func(t *testing.T, w *labelWriter, log *bytes.Buffer) {
		expect(t, f, "at the start", sgxPatch)
		wait(pollInterval - time.Millisecond)
		expect(t, f, "soon")
		wait(pollInterval/10 + time.Millisecond)
		expect(t, f, "after a while", sgxPatch)
		f.set(func() { f.inv = withoutSGX() })
		wait(pollInterval * 11 / 10)
		expect(t, f, "without SGX", noSGXPatch)
		wait(idleInterval - pollInterval)
		expect(t, f, "without SGX for a while")
		wait(idleInterval)
		expect(t, f, "without SGX for long", noSGXPatch)
		f.set(func() { f.broken = errors.New("/sys: input/output error") })
		wait(5 * time.Minute)
		expect(t, f, "while the machine cannot be read")
		if w.known.Unmet() == nil {
			t.Error("the labeller is ready although it cannot read the machine")
		}
		f.set(func() { f.broken, f.inv = nil, withSGX() })
		wait(pollInterval * 11 / 10)
		if got, _ := f.take(); len(got) == 0 || got[0] != sgxPatch {
			t.Errorf("with SGX again: got %s, want %s", got, sgxPatch)
		}
		if w.known.Unmet() != nil || w.written.Unmet() != nil {
			t.Errorf("not ready: %v, %v", w.known.Unmet(), w.written.Unmet())
		}
		if got := strings.Count(log.String(), "input/output error"); got != 1 {
			t.Errorf("the error is logged %d times:\n%s", got, log)
		}
	})
}

func TestLabelRetries(t *testing.T) {
	f := &fakeNode{inv: withSGX(), guard: refused(), err: errors.New("no route to host")}
	labelling(t, f, func(t *testing.T, w *labelWriter, log *bytes.Buffer) {
		wait(10 * time.Minute)
		got, _ := f.take()
		if len(got) < 10 || len(got) > 25 {
			t.Errorf("%d tries within 10 minutes", len(got))
		}
		if w.written.Unmet() == nil || testutil.ToFloat64(w.metrics.failures) != float64(len(got)) {
			t.Errorf("ready: %v; %v failures, want %d", w.written.Unmet(), testutil.ToFloat64(w.metrics.failures), len(got))
		}
		f.set(func() { f.err = nil })
		wait(2 * time.Minute)
		if got, _ := f.take(); len(got) == 0 || w.written.Unmet() != nil {
			t.Errorf("wrote %s, ready: %v", got, w.written.Unmet())
		}
		f.set(func() { f.err = errors.New("reset by peer") })
		for got, _ = f.take(); len(got) == 0; got, _ = f.take() {
			wait(minRetry / 2)
		}
		wait(2 * minRetry)
		if got, _ = f.take(); len(got) == 0 {
			t.Error("after a success, the first retry takes long")
		}
		if strings.Count(log.String(), "no route to host") != 1 || !strings.Contains(log.String(), "labelled node") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// Nothing is written while the token would be good for more than the label.
func TestUnguarded(t *testing.T) {
	for _, c := range []struct {
		name  string
		guard error
		want  string
		gauge float64
	}{
		{"accepted", nil, "the API server accepts a patch that it must refuse", 1},
		{"refused by RBAC", apierrors.NewForbidden(nodesGroup, "node-1", errors.New("RBAC says no")), "forbidden, but not by the policy", 0},
		{"unavailable", errors.New("no route to host"), "check admission policy: no route to host", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeNode{inv: withSGX(), guard: c.guard}
			labelling(t, f, func(t *testing.T, w *labelWriter, _ *bytes.Buffer) {
				wait(time.Minute)
				expect(t, f, "without the policy")
				if err := w.written.Unmet(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if got := testutil.ToFloat64(w.metrics.unguarded); got != c.gauge {
					t.Errorf("unguarded: %v, want %v", got, c.gauge)
				}
				f.set(func() { f.guard = refused() })
				wait(2 * maxRetry)
				if got, _ := f.take(); len(got) == 0 || testutil.ToFloat64(w.metrics.unguarded) != 0 {
					t.Errorf("with the policy: %s, unguarded %v", got, testutil.ToFloat64(w.metrics.unguarded))
				}
			})
		})
	}
}

// A policy that is deleted later is noticed.
func TestPolicyVanishes(t *testing.T) {
	f := &fakeNode{inv: withSGX(), guard: refused()}
	labelling(t, f, func(t *testing.T, w *labelWriter, _ *bytes.Buffer) {
		f.set(func() { f.guard = nil })
		wait(nodeguard.CheckInterval + 2*maxRetry)
		if !errors.Is(w.written.Unmet(), nodeguard.ErrUnguarded) {
			t.Errorf("got %v, want %v", w.written.Unmet(), nodeguard.ErrUnguarded)
		}
		f.take()
		wait(10 * time.Minute)
		expect(t, f, "without the policy")
	})
}

func TestForbidden(t *testing.T) {
	f := &fakeNode{inv: withSGX(), guard: refused(), err: refused()}
	labelling(t, f, func(t *testing.T, w *labelWriter, _ *bytes.Buffer) {
		if err := w.written.Unmet(); err == nil || !strings.Contains(err.Error(), "may patch only the node that it runs on") {
			t.Error(err)
		}
		f.set(func() { f.err = apierrors.NewNotFound(nodesGroup, "node-1") })
		wait(2 * maxRetry)
		if err := w.written.Unmet(); err == nil || !strings.Contains(err.Error(), "check the name of this node") {
			t.Error(err)
		}
	})
}

// Other credentials than the pod's are not restricted.
func TestUnchecked(t *testing.T) {
	f := new(fakeNode)
	w := &labelWriter{node: "node-1", nodes: f, metrics: NewMetrics(prometheus.NewRegistry())}
	if err := w.write(t.Context(), find(withSGX())); err != nil {
		t.Fatal(err)
	}
	if got, checks := f.take(); len(got) != 1 || checks != 0 {
		t.Errorf("wrote %s with %d checks", got, checks)
	}
}

func TestRunNeedsAName(t *testing.T) {
	if err := (&Labeller{}).Run(t.Context(), &daemon.Environment{}); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Error(err)
	}
}
