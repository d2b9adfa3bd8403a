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
	mu  sync.Mutex
	got []string
	err error // returned for each patch
}

func (p *patches) Patch(_ context.Context, name string, kind types.PatchType, patch []byte, _ metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, fmt.Sprintf("%s/%s %s %s", name, strings.Join(subresources, "/"), kind, patch))
	return nil, p.err
}

func (p *patches) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
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
	zero    = `node-1/status application/json-patch+json [{"op":"replace","path":"/status/capacity/example.com~1epc","value":"0"},{"op":"replace","path":"/status/allocatable/example.com~1epc","value":"0"}]`
)

// runWriter runs a status writer in fake time during a test.
func runWriter(t *testing.T, test func(p *patches, capacities chan<- epc.Capacity, log *bytes.Buffer, s *statusWriter)) {
	synctest.Test(t, func(t *testing.T) {
		p, log := new(patches), new(bytes.Buffer)
		s := &statusWriter{
			node: "node-1", resource: "example.com/epc", nodes: p,
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
