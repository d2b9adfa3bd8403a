package nodestatus

import (
	"bytes"
	"context"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The patches are tested against an API server in test/e2e.

// patches records the patches of nodes and returns the configured error.
type patches struct {
	mu     sync.Mutex
	got    []string
	err    error // returned for each patch
	checks int   // number of dry runs
	guard  error // returned for each dry run
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
	p.got = append(p.got, fmt.Sprintf("%s/%s %s %s", name, strings.Join(subresources, "/"), kind, patch))
	return nil, p.err
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

// take returns the patches since the last call.
func (p *patches) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

const (
	written = `node-1/status application/merge-patch+json {"status":{"allocatable":{"example.com/epc":"524288"},"capacity":{"example.com/epc":"524288"}}}`
	check   = `node-1/status [All] application/merge-patch+json {"status":{"capacity":{"confcom.github.io/forbidden":"1"}}}`
	zero    = `node-1/status application/json-patch+json [{"op":"replace","path":"/status/capacity/example.com~1epc","value":"0"},{"op":"replace","path":"/status/allocatable/example.com~1epc","value":"0"}]`
)

// refused is the API server's answer to a patch that its policy does not allow.
var refused = apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "node-1",
	errors.New("ValidatingAdmissionPolicy 'sgx-node-resource' with binding 'sgx-node-resource' denied request: sgx-node-resource may change only …"))

// forbidden is its answer without permission.
var forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "node-1",
	errors.New(`service account "sgx-node-resource" cannot patch resource "nodes/status" in API group "" at the cluster scope`))

// runWriter runs a status writer, which is guarded, in fake time during a test.
func runWriter(t *testing.T, test func(p *patches, capacities chan<- epc.Capacity, log *bytes.Buffer, s *statusWriter)) {
	synctest.Test(t, func(t *testing.T) {
		p, log := &patches{guard: refused}, new(bytes.Buffer)
		s := &statusWriter{
			node: "node-1", resource: "example.com/epc",
			nodes: p, guard: &guard{node: "node-1", nodes: p},
			log:     slog.New(slog.NewTextHandler(log, nil)),
			written: new(daemon.Health).Condition("node status"),
			metrics: NewMetrics(prometheus.NewRegistry()),
		}
		capacities := make(chan epc.Capacity)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.run(ctx, capacities) })
		test(p, capacities, log, s)
		cancel()
		running.Wait()
	})
}

// expect checks the patches since the last call.
func expect(t *testing.T, p *patches, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	got := p.take()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: patches %q, want %q", when, got, want)
	}
}

func TestWrite(t *testing.T) {
	runWriter(t, func(p *patches, capacities chan<- epc.Capacity, _ *bytes.Buffer, _ *statusWriter) {
		expect(t, p, "before the first capacity")
		capacities <- epc.Capacity{Mode: epc.Node, MiB: 524288}
		expect(t, p, "at once", written)
		time.Sleep(9 * time.Second)
		expect(t, p, "before the interval has passed")
		time.Sleep(2 * time.Second)
		expect(t, p, "after the interval", written)
		time.Sleep(11 * time.Second)
		expect(t, p, "after the next", written)

		capacities <- epc.Capacity{Mode: epc.Devices, MiB: 64}
		time.Sleep(time.Hour)
		expect(t, p, "in mode devices the kubelet writes the number")

		capacities <- epc.Capacity{Mode: epc.Node, MiB: 524288}
		expect(t, p, "in mode node again", written)
		capacities <- epc.Capacity{}
		expect(t, p, "the device is gone", zero)
		time.Sleep(time.Hour)
		expect(t, p, "zero is written once")
	})
}

// On a node that has never had the resource, replacing it is invalid.
func TestWriteNothing(t *testing.T) {
	runWriter(t, func(p *patches, capacities chan<- epc.Capacity, log *bytes.Buffer, _ *statusWriter) {
		p.fail(apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", schema.GroupResource{Resource: "nodes"}, "node-1", "", 0, false))
		capacities <- epc.Capacity{}
		time.Sleep(time.Hour)
		expect(t, p, "once", zero)
		if strings.Contains(log.String(), "WARN") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// While the API server is unavailable, the writer retries at growing intervals and logs
// one line.
func TestAPIServerUnavailable(t *testing.T) {
	runWriter(t, func(p *patches, capacities chan<- epc.Capacity, log *bytes.Buffer, s *statusWriter) {
		p.fail(errors.New("connection refused"))
		capacities <- epc.Capacity{Mode: epc.Node, MiB: 524288}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(p.take()); n < 12 || n > 18 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if n := strings.Count(log.String(), "connection refused"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log)
		}
		p.fail(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(p.take()); n < 2 {
			t.Errorf("%d writes after recovery", n)
		}
		if !strings.Contains(log.String(), "write node status succeeded again") {
			t.Errorf("log:\n%s", log)
		}
		if writes, failures := testutil.ToFloat64(s.metrics.writes), testutil.ToFloat64(s.metrics.failures); writes < 2 || failures < 12 {
			t.Errorf("counted %v writes and %v failures", writes, failures)
		}
	})
}

// A writer that nothing restricts does not write, reports that as an error and retries.
func TestUnguarded(t *testing.T) {
	runWriter(t, func(p *patches, capacities chan<- epc.Capacity, log *bytes.Buffer, s *statusWriter) {
		for _, step := range []struct {
			name   string
			answer error // to dry runs
			then   func()
			writes string // some, none or, if that depends on the jitter, empty
			checks [2]int // fewest and most
			log    string // part of the last line
			metric float64
		}{
			{"guarded", refused, func() { capacities <- epc.Capacity{Mode: epc.Node, MiB: 524288} }, "some", [2]int{1, 1}, "level=INFO", 0},
			{"soon after", refused, func() { time.Sleep(time.Minute) }, "some", [2]int{0, 0}, "level=INFO", 0},
			{"at intervals", refused, func() { time.Sleep(time.Hour) }, "some", [2]int{11, 12}, "level=INFO", 0},
			{"until the next check", nil, func() { time.Sleep(2 * checkInterval) }, "", [2]int{1, 40}, "level=ERROR msg=\"not restricted by an admission policy, writing nothing\"", 1},
			{"the policy is gone", nil, func() { time.Sleep(time.Hour) }, "none", [2]int{55, 70}, "level=ERROR", 1},
			{"capacity changes", nil, func() { capacities <- epc.Capacity{} }, "none", [2]int{1, 1}, "msg=\"capacity changed\"", 1},
			{"the API server does not answer", errors.New("connection refused"), func() { time.Sleep(5 * time.Minute) }, "none", [2]int{2, 20}, "check admission policy: connection refused", 1},
			{"somebody else forbids it", forbidden, func() { time.Sleep(5 * time.Minute) }, "none", [2]int{2, 20}, "restore the ClusterRole", 1},
			{"the policy is back", refused, func() { time.Sleep(2 * maxRetry) }, "some", [2]int{1, 1}, "succeeded again", 0},
			{"another mode", refused, func() { capacities <- epc.Capacity{Mode: epc.Devices}; time.Sleep(time.Hour) }, "none", [2]int{10, 12}, "capacity changed", 0},
			{"the policy is gone in another mode", nil, func() { time.Sleep(2 * checkInterval) }, "none", [2]int{1, 20}, "level=ERROR", 1},
		} {
			p.answerCheck(step.answer)
			step.then()
			synctest.Wait()
			if writes := p.take(); len(writes) > 0 && step.writes == "none" || len(writes) == 0 && step.writes == "some" {
				t.Errorf("%s: writes %q, want %s", step.name, writes, step.writes)
			}
			if checks := p.takeChecks(); checks < step.checks[0] || checks > step.checks[1] {
				t.Errorf("%s: %d checks, want %d to %d", step.name, checks, step.checks[0], step.checks[1])
			}
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, step.log) {
				t.Errorf("%s: log %q, want %q", step.name, last, step.log)
			}
			if got := testutil.ToFloat64(s.metrics.unguarded); got != step.metric {
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
			runWriter(t, func(p *patches, capacities chan<- epc.Capacity, log *bytes.Buffer, _ *statusWriter) {
				p.fail(test.err)
				capacities <- epc.Capacity{Mode: epc.Node, MiB: 524288}
				synctest.Wait()
				if !strings.Contains(log.String(), test.want) {
					t.Errorf("log:\n%s", log)
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
		{"no API server", Writer{Node: "node-1"}, "find the API server", rest.ErrNotInCluster},
		{"no kubeconfig", Writer{Node: "node-1", Kubeconfig: "/nonexistent/config"}, "/nonexistent/config", fs.ErrNotExist},
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
