package nodestatus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the API server makes of the patches is tested in test/e2e.

// patches keeps what is written to nodes, and answers what it is told to.
type patches struct {
	mu     sync.Mutex
	got    []string
	answer error
}

func (p *patches) Patch(_ context.Context, name string, kind types.PatchType, patch []byte, _ metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, fmt.Sprintf("%s/%s %s %s", name, strings.Join(subresources, "/"), kind, patch))
	return nil, p.answer
}

func (p *patches) set(answer error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// take returns what was written since it was last called.
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

// keeping runs a keeper in a bubble of synctest, whose time passes when all in
// it wait.
func keeping(t *testing.T, test func(p *patches, offers chan<- epc.Capacity, log *bytes.Buffer, k *keeper)) {
	synctest.Test(t, func(t *testing.T) {
		p, log := new(patches), new(bytes.Buffer)
		k := &keeper{
			node: "node-1", resource: "example.com/epc", nodes: p,
			log:     slog.New(slog.NewTextHandler(log, nil)),
			written: new(daemon.Health).Condition("node status"),
			metrics: newMetrics(prometheus.NewRegistry()),
		}
		offers := make(chan epc.Capacity)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.keep(ctx, offers) }()
		test(p, offers, log, k)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// expect compares what was written.
func expect(t *testing.T, p *patches, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	got := p.take()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: written %q, want %q", when, got, want)
	}
}

func TestKeep(t *testing.T) {
	keeping(t, func(p *patches, offers chan<- epc.Capacity, _ *bytes.Buffer, _ *keeper) {
		expect(t, p, "before the first offer")
		offers <- epc.Capacity{Mode: epc.Node, MiB: 524288}
		expect(t, p, "at once", written)
		time.Sleep(9 * time.Second)
		expect(t, p, "before the interval has passed")
		time.Sleep(2 * time.Second)
		expect(t, p, "after the interval", written)
		time.Sleep(11 * time.Second)
		expect(t, p, "after the next", written)

		offers <- epc.Capacity{Mode: epc.Devices, MiB: 64}
		time.Sleep(time.Hour)
		expect(t, p, "as devices: the number is the kubelet's")

		offers <- epc.Capacity{Mode: epc.Node, MiB: 524288}
		expect(t, p, "back", written)
		offers <- epc.Capacity{}
		expect(t, p, "the device is gone", zero)
		time.Sleep(time.Hour)
		expect(t, p, "there is nothing to keep")
	})
}

// A node that never had the resource has nothing to replace.
func TestKeepNothing(t *testing.T) {
	keeping(t, func(p *patches, offers chan<- epc.Capacity, log *bytes.Buffer, _ *keeper) {
		p.set(apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", schema.GroupResource{Resource: "nodes"}, "node-1", "", 0, false))
		offers <- epc.Capacity{}
		time.Sleep(time.Hour)
		expect(t, p, "once", zero)
		if strings.Contains(log.String(), "WARN") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// While the API server is away it is tried again, more and more seldom, and
// said once.
func TestAPIServerAway(t *testing.T) {
	keeping(t, func(p *patches, offers chan<- epc.Capacity, log *bytes.Buffer, k *keeper) {
		p.set(errors.New("connection refused"))
		offers <- epc.Capacity{Mode: epc.Node, MiB: 524288}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(p.take()); n < 12 || n > 18 {
			t.Errorf("%d tries in ten minutes", n)
		}
		if n := strings.Count(log.String(), "connection refused"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		p.set(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(p.take()); n < 2 {
			t.Errorf("%d writes after it is back", n)
		}
		if !strings.Contains(log.String(), "is written again") {
			t.Errorf("log:\n%s", log)
		}
		if writes, failures := testutil.ToFloat64(k.metrics.writes), testutil.ToFloat64(k.metrics.failures); writes < 2 || failures < 12 {
			t.Errorf("%v writes and %v failures are counted", writes, failures)
		}
	})
}

func TestRefusals(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	tests := []struct {
		name   string
		answer error
		want   string
	}{
		{"forbidden", apierrors.NewForbidden(nodes, "node-1", errors.New("not this one")), "may write only to the node it runs on"},
		{"no such node", apierrors.NewNotFound(nodes, "node-1"), "check --node-name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			keeping(t, func(p *patches, offers chan<- epc.Capacity, log *bytes.Buffer, _ *keeper) {
				p.set(test.answer)
				offers <- epc.Capacity{Mode: epc.Node, MiB: 524288}
				synctest.Wait()
				if !strings.Contains(log.String(), test.want) {
					t.Errorf("log:\n%s", log)
				}
			})
		})
	}
}

func TestCannotRun(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"no name", nil, []string{"NODE_NAME", "--node-name"}},
		{"no API server", []string{"--node-name=node-1"}, []string{"find the API server", "--kubeconfig"}},
		{"no kubeconfig", []string{"--node-name=node-1", "--kubeconfig=/nonexistent/config"}, []string{"/nonexistent/config"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := new(Writer)
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			w.AddFlags(flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			err := w.Run(t.Context(), &daemon.Environment{Log: slog.New(slog.DiscardHandler), Health: new(daemon.Health), Metrics: prometheus.NewRegistry()})
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	newMetrics(registry)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
