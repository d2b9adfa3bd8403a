package nodestatus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
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
	"k8s.io/client-go/rest"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/nodeguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The patches are tested against an API server in test/e2e.

// patches records the patches of nodes and returns the configured error.
type patches struct {
	mu     sync.Mutex
	got    []string
	err    error // returned for each patch
	absent bool  // whether the node does not have the resource
	checks int   // number of dry runs
	guard  error // returned for each dry run

	policy    error          // returned for each look at the device policy
	condition map[string]any // the node's
	events    []string
	message   string // of the last event
}

func (p *patches) Patch(_ context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(options.DryRun) > 0 {
		p.checks++
		if got := fmt.Sprintf("%s/%s %s %s %s", name, strings.Join(subresources, "/"), options.DryRun, kind, patch); got != check {
			return nil, fmt.Errorf("unexpected dry run: %s", got)
		}
		return nil, p.guard
	}
	got := fmt.Sprintf("%s/%s %s %s", name, strings.Join(subresources, "/"), kind, patch)
	if p.err != nil {
		p.got = append(p.got, got)
		return nil, p.err
	}
	if kind == types.JSONPatchType && p.absent {
		p.got = append(p.got, got)
		return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", schema.GroupResource{Resource: "nodes"}, "node-1", "", 0, false)
	}
	if kind == types.StrategicMergePatchType {
		var node struct {
			Status struct{ Conditions []map[string]any }
		}
		if err := json.Unmarshal(patch, &node); err != nil || len(node.Status.Conditions) != 1 {
			return nil, fmt.Errorf("unexpected patch of conditions: %s", patch)
		}
		p.condition = node.Status.Conditions[0]
	} else if string(patch) != "{}" {
		p.got = append(p.got, got)
	}
	if p.condition == nil {
		return new(unstructured.Unstructured), nil
	}
	return &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{p.condition}}}}, nil
}

// Get answers whether the policy exists.
func (p *patches) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != "sgx-enclave-with-epc" {
		return nil, fmt.Errorf("unexpected name %s", name)
	}
	return new(unstructured.Unstructured), p.policy
}

func (p *patches) setPolicy(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.policy = err
}

// Create records events.
func (p *patches) Create(_ context.Context, object *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, fmt.Sprint(object.Object["type"], " ", object.Object["reason"]))
	p.message = fmt.Sprint(object.Object["message"])
	return object, p.err
}

// has returns the reason and the status of the node's condition, and the events.
func (p *patches) has() (condition, events string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.condition["reason"], " ", p.condition["status"]), strings.Join(p.events, ", ")
}

func (p *patches) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// answerCheck sets the answer to dry runs.
func (p *patches) answerCheck(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guard = err
}

// takeChecks returns the number of dry runs since the last call.
func (p *patches) takeChecks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.checks
	p.checks = 0
	return n
}

// take returns the patches since the last call, with those of this moment.
func (p *patches) take() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

const (
	written = `node-1/status application/merge-patch+json {"status":{"allocatable":{"example.com/epc":"524288"},"capacity":{"example.com/epc":"524288"}}}`
	check   = `node-1/status [All] application/merge-patch+json {"status":{"capacity":{"confcom.github.io/forbidden":"1"}}}`
	// noAllocatable keeps new pods away.
	noAllocatable = `node-1/status application/merge-patch+json {"status":{"allocatable":{"example.com/epc":"0"}}}`
	zero          = `node-1/status application/json-patch+json [{"op":"replace","path":"/status/capacity/example.com~1epc","value":"0"},{"op":"replace","path":"/status/allocatable/example.com~1epc","value":"0"}]`
)

// refused is the API server's answer to a patch that its policy does not allow.
var refused = apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "node-1",
	errors.New("ValidatingAdmissionPolicy 'sgx-node-resource' with binding 'sgx-node-resource' denied request: sgx-node-resource may change only …"))

// forbidden is its answer without permission.
var forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "node-1",
	errors.New(`service account "sgx-node-resource" cannot patch resource "nodes/status" in API group "" at the cluster scope`))

// run is a status writer that runs in a test.
type run struct {
	*patches
	t   *testing.T
	log *bytes.Buffer
	s   *statusWriter

	mu   sync.Mutex
	file epc.Advertisement
	err  error

	acknowledged []*acknowledgement
	refused      error // why nothing is acknowledged
}

// acknowledgement is one of an advertisement, which is released at most once.
type acknowledgement struct {
	of       epc.Advertisement
	released bool
}

func (a *acknowledgement) Release() error {
	if a.released {
		return errors.New("released twice")
	}
	a.released = true
	return nil
}

func (r *run) acknowledge(a epc.Advertisement) (releaser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil {
		return nil, r.refused
	}
	r.acknowledged = append(r.acknowledged, &acknowledgement{of: a})
	return r.acknowledged[len(r.acknowledged)-1], nil
}

// expectAcknowledged checks whether there is one acknowledgement, of state closing, or none.
func (r *run) expectAcknowledged(when string, want int) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, a := range r.acknowledged {
		if a.of.State != epc.StateClosing {
			r.t.Errorf("%s: acknowledged %+v", when, a.of)
		}
		if !a.released {
			n++
		}
	}
	if n != want {
		r.t.Errorf("%s: %d acknowledgements, want %d", when, n, want)
	}
}

// advertise changes what the device plugin has written.
func (r *run) advertise(a epc.Advertisement) {
	r.set(a, nil)
}

func (r *run) set(a epc.Advertisement, err error) {
	r.mu.Lock()
	r.file, r.err = a, err
	r.mu.Unlock()
	time.Sleep(pollInterval)
	synctest.Wait()
}

// The advertisements of the tests.
var (
	inNode      = of(epc.StateNode, epc.Node, 524288)
	inDevices   = of(epc.StateDevices, epc.Devices, 64)
	heldDevices = of(epc.StateDevices, epc.Node, 64)
	closing     = of(epc.StateClosing, epc.Node, 64)
	releasing   = of(epc.StateReleasing, epc.Node, 0)
	heldNode    = of(epc.StateNode, epc.Devices, 524288)
	none        = of(epc.StateNone, "", 0)
)

func of(s epc.State, wanted epc.Mode, mib int64) epc.Advertisement {
	return epc.Advertisement{Resource: "example.com/epc", DeviceResource: "example.com/enclave", State: s, Wanted: wanted, MiB: mib, Message: "in words", PodNames: []string{}}
}

// runWriter runs a status writer, which is guarded, in fake time during a test.
func runWriter(t *testing.T, test func(r *run)) {
	synctest.Test(t, func(t *testing.T) {
		p, log := &patches{guard: refused}, new(bytes.Buffer)
		r := &run{patches: p, t: t, log: log, err: fs.ErrNotExist}
		r.s = &statusWriter{
			nodeClient: nodeClient{
				node: "node-1", nodes: p, events: p, guard: newGuard("node-1", p), limit: newEventLimit(),
				log:     slog.New(slog.NewTextHandler(log, nil)),
				metrics: NewMetrics(prometheus.NewRegistry()),
			},
			read: func() (epc.Advertisement, error) {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.file, r.err
			},
			acknowledge:    r.acknowledge,
			devicePolicies: &devicePolicies{adding: []getter{p, p}, refusing: []getter{p, p}},
			known:          new(daemon.Health).Condition("advertisement"),
			written:        new(daemon.Health).Condition("node status"),
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.s.run(ctx) })
		test(r)
		cancel()
		running.Wait()
		r.expectAcknowledged("at the end", 0)
	})
}

// expect checks that the patches of the number since the last call are all the same one,
// of which there are at least fewest and at most most.
func (r *run) expect(when string, fewest, most int, want string) {
	r.t.Helper()
	got := r.take()
	if len(got) < fewest || len(got) > most {
		r.t.Errorf("%s: %d patches, want %d to %d: %q", when, len(got), fewest, most, got)
	}
	for _, patch := range got {
		if patch != want {
			r.t.Errorf("%s: patch %s, want %s", when, patch, want)
		}
	}
}

func TestWriteNumber(t *testing.T) {
	runWriter(t, func(r *run) {
		time.Sleep(time.Minute)
		r.expect("before the first advertisement", 0, 0, "")
		r.advertise(inNode)
		r.expect("at once", 1, 1, written)
		time.Sleep(settleTime)
		r.expect("repeatedly, because a kubelet may overwrite it", 25, 31, written)
		time.Sleep(9 * time.Second)
		r.expect("before the interval has passed", 0, 1, written)
		time.Sleep(time.Minute)
		r.expect("at the interval", 5, 6, written)
		r.set(epc.Advertisement{}, errors.New("unknown member"))
		time.Sleep(time.Minute)
		r.expect("while the advertisement cannot be read", 5, 6, written)

		r.advertise(inDevices)
		time.Sleep(time.Hour)
		r.expect("in mode devices the kubelet writes the number", 0, 0, "")
		r.advertise(heldDevices)
		time.Sleep(time.Hour)
		r.expect("pods hold devices", 0, 0, "")
		r.advertise(closing)
		r.expect("no new pods at once", 1, 1, noAllocatable)
		time.Sleep(5 * time.Second)
		r.expect("nor after the kubelet has restored the number", 9, 11, noAllocatable)
		r.advertise(releasing)
		time.Sleep(settleTime)
		r.expect("the kubelet may still restore it", 25, 32, noAllocatable)
		time.Sleep(5 * time.Minute)
		r.expect("while the kubelet releases devices", 26, 31, noAllocatable)
		r.advertise(inNode)
		r.expect("in mode node again", 1, 1, written)
		r.advertise(heldNode)
		time.Sleep(pollInterval)
		r.expect("held in mode node", 1, 3, written)
		r.advertise(none)
		r.expect("the device is gone", 1, 1, zero)
		time.Sleep(time.Hour)
		r.expect("zero is written once", 0, 0, "")
	})
}

// The device plugin learns that new pods are kept away once that is written, and not for
// longer than it is so.
func TestAcknowledge(t *testing.T) {
	runWriter(t, func(r *run) {
		r.advertise(inDevices)
		r.expectAcknowledged("in mode devices", 0)
		r.fail(errors.New("connection refused"))
		r.advertise(closing)
		time.Sleep(20 * time.Second)
		r.expectAcknowledged("while the API server is away", 0)
		r.mu.Lock()
		r.refused = errors.New("it has been replaced")
		r.mu.Unlock()
		r.fail(nil)
		time.Sleep(maxRetry)
		r.expectAcknowledged("while the file is replaced", 0)
		r.mu.Lock()
		r.refused = nil
		r.mu.Unlock()
		time.Sleep(2 * maxRetry)
		r.expectAcknowledged("written", 1)
		if condition, _ := r.has(); condition != "KubeletReleasesDevices False" {
			t.Errorf("condition %s, so the kubelet may restore the number", condition)
		}
		r.advertise(heldDevices)
		r.expectAcknowledged("a pod came", 0)
		r.advertise(closing)
		r.expectAcknowledged("closing again", 1)
		r.advertise(releasing)
		r.expectAcknowledged("the devices are withdrawn", 0)
	})
}

// On a node that has never had the resource, replacing it is invalid.
func TestWriteNothing(t *testing.T) {
	runWriter(t, func(r *run) {
		r.absent = true
		r.advertise(none)
		time.Sleep(time.Hour)
		r.expect("once", 1, 1, zero)
		if condition, _ := r.has(); condition != "NoEPC False" {
			t.Errorf("condition %s", condition)
		}
	})
}

// The node's condition and events say how EPC is advertised.
func TestCondition(t *testing.T) {
	runWriter(t, func(r *run) {
		var want []string
		withheld := inDevices
		withheld.WithheldMiB = 7
		for _, step := range []struct {
			name  string
			file  epc.Advertisement
			want  string
			event string // none if empty
		}{
			{"none", none, "NoEPC False", "Normal NoEPC"},
			{"devices", inDevices, "Devices True", "Normal Devices"},
			{"a part is withheld", withheld, "EPCWithheld True", "Normal EPCWithheld"},
			{"held", heldDevices, "PodsHoldDevices True", "Normal PodsHoldDevices"},
			{"closing", closing, "KubeletReleasesDevices False", "Normal KubeletReleasesDevices"},
			{"releasing", releasing, "KubeletReleasesDevices False", ""},
			{"node", inNode, "NodeStatus True", "Normal NodeStatus"},
			{"held in node", heldNode, "PodsUseNodeStatus True", "Normal PodsUseNodeStatus"},
			{"the device has vanished", none, "NoEPC False", "Warning NoEPC"},
		} {
			r.advertise(step.file)
			if step.event != "" {
				want = append(want, step.event)
			}
			condition, events := r.has()
			if condition != step.want || events != strings.Join(want, ", ") {
				t.Errorf("%s: condition %s, want %s; events %s, want %s", step.name, condition, step.want, events, strings.Join(want, ", "))
			}
		}
	})
}

// The time of the last transition is that of the status, across restarts of the writer. A
// condition that somebody has removed is written again.
func TestConditionTimes(t *testing.T) {
	runWriter(t, func(r *run) {
		const earlier = "1999-12-31T23:00:00Z" // before the fake clock
		r.mu.Lock()
		r.condition = map[string]any{"type": epcCondition, "status": "True", "reason": "Devices", "lastTransitionTime": earlier}
		r.mu.Unlock()
		times := func() (transition, heartbeat string) {
			r.patches.mu.Lock()
			defer r.patches.mu.Unlock()
			return fmt.Sprint(r.condition["lastTransitionTime"]), fmt.Sprint(r.condition["lastHeartbeatTime"])
		}
		r.advertise(inDevices)
		if transition, _ := times(); transition != earlier {
			t.Errorf("transition %s after a restart, want %s", transition, earlier)
		}
		if _, events := r.has(); events != "" {
			t.Errorf("events %s after a restart, want none", events)
		}
		_, before := times()
		time.Sleep(2 * heartbeatInterval)
		if _, after := times(); after == before {
			t.Errorf("heartbeat %s is not repeated", before)
		}
		r.advertise(closing)
		if transition, heartbeat := times(); transition == earlier || transition != heartbeat {
			t.Errorf("transition %s, want %s", transition, heartbeat)
		}
	})
}

// A condition that somebody else has written is restored soon: an uninstallation that has
// failed leaves one by which a policy keeps the kubelet's number at 0.
func TestConditionOfOthers(t *testing.T) {
	for _, mode := range []epc.Advertisement{inDevices, inNode} {
		runWriter(t, func(r *run) {
			r.advertise(mode)
			want, _ := r.has()
			time.Sleep(time.Minute)
			r.patches.mu.Lock()
			r.patches.condition = map[string]any{"type": epcCondition, "status": "False", "reason": reasonReleasing}
			r.patches.mu.Unlock()
			time.Sleep(messageInterval + messageInterval/10 + pollInterval)
			synctest.Wait()
			if got, _ := r.has(); got != want {
				t.Errorf("state %s: condition %s, want %s", mode.State, got, want)
			}
		})
	}
}

// Names of pods change often. They do not cost a write each.
func TestMessageChanges(t *testing.T) {
	runWriter(t, func(r *run) {
		r.advertise(heldDevices)
		before := testutil.ToFloat64(r.s.metrics.writes)
		for i := range 600 {
			a := heldDevices
			a.Message, a.Pods = fmt.Sprintf("%d pods", i), i
			r.advertise(a)
		}
		if writes := testutil.ToFloat64(r.s.metrics.writes) - before; writes < 8 || writes > 11 {
			t.Errorf("%v writes in 5 minutes", writes)
		}
	})
}

// While the policy is missing that gives pods the device, a node in mode node has no EPC.
func TestPolicyMissing(t *testing.T) {
	absent := apierrors.NewNotFound(schema.GroupResource{Resource: "mutatingadmissionpolicies"}, devicePolicyName)
	runWriter(t, func(r *run) {
		r.advertise(inNode)
		time.Sleep(time.Hour)
		r.expect("with the policy", 300, 400, written)
		r.setPolicy(absent)
		time.Sleep(12 * time.Second)
		r.take()
		time.Sleep(time.Hour)
		r.expect("without", 600, 730, strings.ReplaceAll(written, "524288", "0"))
		condition, events := r.has()
		if condition != "PolicyMissing False" || !strings.HasSuffix(events, "Warning PolicyMissing") {
			t.Errorf("condition %s, events %s", condition, events)
		}
		message := fmt.Sprint(r.condition["message"])
		for _, part := range []string{"helm upgrade", `has("example.com/epc") and (has("example.com/enclave") | not)`} {
			if !strings.Contains(message, part) {
				t.Errorf("message %s: want %s", message, part)
			}
		}
		if n := strings.Count(r.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d errors in the log, want 1:\n%s", n, r.log)
		}
		if got := testutil.ToFloat64(r.s.metrics.policyMissing); got != 1 {
			t.Errorf("metric %v", got)
		}
		r.setPolicy(errors.New("connection refused"))
		time.Sleep(10 * time.Minute)
		r.expect("nothing is known", 0, 1, strings.ReplaceAll(written, "524288", "0"))
		r.setPolicy(nil)
		time.Sleep(2 * maxRetry)
		r.take()
		if condition, _ := r.has(); condition != "NodeStatus True" {
			t.Errorf("condition %s after the policy is back", condition)
		}
		r.setPolicy(absent)
		time.Sleep(12 * time.Second)
		r.take()
		r.setPolicy(nil)
		time.Sleep(12 * time.Second)
		if got := r.take(); len(got) == 0 || got[len(got)-1] != written {
			t.Errorf("12 s after the policy is back: %q", got)
		}
		r.setPolicy(absent)
		r.advertise(inDevices)
		time.Sleep(time.Hour)
		r.expect("another mode does not need it", 0, 0, "")
	})
}

// While the API server is unavailable, the writer retries at growing intervals and logs
// one line.
func TestAPIServerUnavailable(t *testing.T) {
	runWriter(t, func(r *run) {
		r.fail(errors.New("connection refused"))
		r.advertise(inNode)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(r.take()); n < 12 || n > 18 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if n := strings.Count(r.log.String(), "connection refused"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, r.log)
		}
		r.fail(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(r.take()); n < 2 {
			t.Errorf("%d writes after recovery", n)
		}
		if !strings.Contains(r.log.String(), "write node status succeeded again") {
			t.Errorf("log:\n%s", r.log)
		}
		if writes, failures := testutil.ToFloat64(r.s.metrics.writes), testutil.ToFloat64(r.s.metrics.failures); writes < 2 || failures < 12 {
			t.Errorf("counted %v writes and %v failures", writes, failures)
		}
	})
}

// A writer that nothing restricts does not write, reports that as an error and retries.
func TestUnguarded(t *testing.T) {
	runWriter(t, func(r *run) {
		for _, step := range []struct {
			name   string
			answer error // to dry runs
			then   func()
			writes string // some, none or, if that depends on the jitter, empty
			checks [2]int // fewest and most
			log    string // part of the last line
			metric float64
		}{
			{"guarded", refused, func() { r.advertise(inNode) }, "some", [2]int{1, 1}, "level=INFO", 0},
			{"soon after", refused, func() { time.Sleep(time.Minute) }, "some", [2]int{0, 0}, "level=INFO", 0},
			{"at intervals", refused, func() { time.Sleep(time.Hour) }, "some", [2]int{11, 12}, "level=INFO", 0},
			{"until the next check", nil, func() { time.Sleep(2 * nodeguard.CheckInterval) }, "", [2]int{1, 40}, "level=ERROR msg=\"not restricted by an admission policy, writing nothing\"", 1},
			{"the policy is gone", nil, func() { time.Sleep(time.Hour) }, "none", [2]int{55, 70}, "level=ERROR", 1},
			{"the advertisement changes", nil, func() { r.advertise(none) }, "none", [2]int{1, 1}, "msg=\"advertisement changed\"", 1},
			{"the API server does not answer", errors.New("connection refused"), func() { time.Sleep(5 * time.Minute) }, "none", [2]int{2, 20}, "check admission policy: connection refused", 1},
			{"somebody else forbids it", forbidden, func() { time.Sleep(5 * time.Minute) }, "none", [2]int{2, 20}, "restore the ClusterRole", 1},
			{"the policy is back", refused, func() { time.Sleep(2 * maxRetry) }, "some", [2]int{1, 1}, "", 0},
			{"another mode", refused, func() { r.advertise(inDevices); time.Sleep(time.Hour) }, "none", [2]int{10, 12}, "", 0},
			{"the policy is gone in another mode", nil, func() { time.Sleep(2 * nodeguard.CheckInterval) }, "none", [2]int{1, 20}, "level=ERROR", 1},
		} {
			r.answerCheck(step.answer)
			step.then()
			synctest.Wait()
			if writes := r.take(); len(writes) > 0 && step.writes == "none" || len(writes) == 0 && step.writes == "some" {
				t.Errorf("%s: writes %q, want %s", step.name, writes, step.writes)
			}
			if checks := r.takeChecks(); checks < step.checks[0] || checks > step.checks[1] {
				t.Errorf("%s: %d checks, want %d to %d", step.name, checks, step.checks[0], step.checks[1])
			}
			lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, step.log) {
				t.Errorf("%s: log %q, want %q", step.name, last, step.log)
			}
			if got := testutil.ToFloat64(r.s.metrics.unguarded); got != step.metric {
				t.Errorf("%s: metric %v, want %v", step.name, got, step.metric)
			}
		}
	})
}

func TestRejected(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"forbidden", apierrors.NewForbidden(nodes, "node-1", errors.New("not this one")), "may patch only the node that it runs on"},
		{"no such node", apierrors.NewNotFound(nodes, "node-1"), "check the name of this node"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			runWriter(t, func(r *run) {
				r.fail(test.err)
				r.advertise(inNode)
				if !strings.Contains(r.log.String(), test.want) {
					t.Errorf("log:\n%s", r.log)
				}
			})
		})
	}
}

func TestCannotRun(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	tests := []struct {
		name   string
		writer Writer
		want   string
		is     error
	}{
		{"no name", Writer{}, "the node has no name", nil},
		{"no state directory", Writer{Node: "node-1"}, "not an absolute path", nil},
		{"no API server", Writer{Node: "node-1", StateDir: "/state"}, "find the API server", rest.ErrNotInCluster},
		{"no kubeconfig", Writer{Node: "node-1", StateDir: "/state", Kubeconfig: "/nonexistent/config"}, "/nonexistent/config", fs.ErrNotExist},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.writer.Run(t.Context(), &daemon.Environment{Log: slog.New(slog.DiscardHandler), Health: new(daemon.Health), Metrics: prometheus.NewRegistry()})
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v, want %q and %v", err, test.want, test.is)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	NewMetrics(registry)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
