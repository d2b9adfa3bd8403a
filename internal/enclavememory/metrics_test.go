package enclavememory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/peer"
)

func processOf(pod string, mapped node.Size) Process {
	return Process{Peer: peer.Peer{Pod: pod}, Mapped: mapped}
}

// expect compares all metrics.
func expect(t *testing.T, registry *prometheus.Registry, want string) {
	t.Helper()
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

const (
	headMapped     = "# HELP sgx_enclave_memory_mapped_bytes Enclave memory that the processes of the node map. It is usually more than the EPC that they use, which Linux does not count.\n# TYPE sgx_enclave_memory_mapped_bytes gauge\n"
	headPod        = "# HELP sgx_enclave_memory_pod_mapped_bytes Enclave memory that the processes of a pod map, by its UID, for the 256 pods that map the most.\n# TYPE sgx_enclave_memory_pod_mapped_bytes gauge\n"
	headUnreadable = "# HELP sgx_enclave_memory_unreadable_processes Processes that could not be examined: what they map is missing.\n# TYPE sgx_enclave_memory_unreadable_processes gauge\n"
)

// watch runs Watch with the answers of find.
func watch(t *testing.T, find func(context.Context) (Usage, error)) (registry *prometheus.Registry, log *bytes.Buffer, stop func()) {
	t.Helper()
	registry, log = prometheus.NewRegistry(), new(bytes.Buffer)
	m := NewMetrics(registry)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Watch(ctx, slog.New(slog.NewTextHandler(log, nil)), find)
	}()
	return registry, log, func() { cancel(); <-done }
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		usage := Usage{Processes: []Process{processOf("b", 3<<20), processOf("a", 2<<20), processOf("", 7<<20), processOf("b", 1<<20)}, Unreadable: 2, Why: errTooLong}
		finds := 0
		registry, log, stop := watch(t, func(context.Context) (Usage, error) {
			if finds++; finds > 1 {
				return Usage{Unreadable: 1}, nil // the pods have ended
			}
			return usage, nil
		})
		defer stop()
		synctest.Wait()
		expect(t, registry, headMapped+"sgx_enclave_memory_mapped_bytes 1.3631488e+07\n"+
			headPod+"sgx_enclave_memory_pod_mapped_bytes{uid=\"a\"} 2.097152e+06\nsgx_enclave_memory_pod_mapped_bytes{uid=\"b\"} 4.194304e+06\n"+
			headUnreadable+"sgx_enclave_memory_unreadable_processes 2\n")

		time.Sleep(10 * interval)
		synctest.Wait()
		expect(t, registry, headMapped+"sgx_enclave_memory_mapped_bytes 0\n"+headUnreadable+"sgx_enclave_memory_unreadable_processes 1\n")
		if finds != 11 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "cannot examine all processes for enclave memory\" unreadable=2 error=\""+errTooLong.Error()) {
			t.Errorf("%d examinations, log: %s", finds, log)
		}
	})
}

// Only the pods with the most have metrics of their own.
func TestManyPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var usage Usage
		for i := range 300 {
			usage.Processes = append(usage.Processes, processOf(fmt.Sprintf("pod%03d", i), node.Size(i+1)))
		}
		registry, _, stop := watch(t, func(context.Context) (Usage, error) { return usage, nil })
		defer stop()
		synctest.Wait()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			switch f.GetName() {
			case "sgx_enclave_memory_pod_mapped_bytes":
				if n, least := len(f.GetMetric()), f.GetMetric()[0]; n != 256 || least.GetLabel()[0].GetValue() != "pod044" {
					t.Errorf("%d pods from %s", n, least)
				}
			case "sgx_enclave_memory_mapped_bytes":
				if sum := f.GetMetric()[0].GetGauge().GetValue(); sum != 300*301/2 {
					t.Errorf("sum %v", sum)
				}
			}
		}
	})
}

// What failed or hangs leaves no old numbers for long, and nobody waits for it.
func TestNoAnswer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(release chan struct{}) (Usage, error)
		finds int
		log   string
	}{
		{"fails", func(chan struct{}) (Usage, error) { return Usage{}, errors.New("no /proc") }, 6, "no /proc"},
		{"hangs", func(release chan struct{}) (Usage, error) { <-release; return Usage{}, nil }, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				finds, release := 0, make(chan struct{})
				registry, log, stop := watch(t, func(context.Context) (Usage, error) {
					if finds++; finds == 1 {
						return Usage{Processes: []Process{processOf("a", 1)}}, nil
					}
					return tt.after(release)
				})
				count := func() int {
					n, err := testutil.GatherAndCount(registry)
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
				time.Sleep(maxAge)
				synctest.Wait()
				if n := count(); n != 3 {
					t.Errorf("%d metrics after %v", n, maxAge)
				}
				time.Sleep(interval)
				synctest.Wait()
				if n := count(); n != 0 {
					t.Errorf("%d metrics after %v", n, maxAge+interval)
				}
				stop() // does not wait for it
				if finds != tt.finds || strings.Count(log.String(), "\n") > 1 || !strings.Contains(log.String(), tt.log) {
					t.Errorf("%d examinations, log: %s", finds, log)
				}
				close(release)
			})
		})
	}
}
