package enclavememory

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/node"
)

const (
	// interval is the time between two examinations.
	interval = 15 * time.Second
	// maxAge is how old a result may be that metrics show. Linux lets a reader of a process's
	// mappings wait while the process changes them.
	maxAge = 4 * interval
	// maxPods is how many pods have metrics of their own, those that map the most. A kubelet
	// runs 110 pods by default.
	maxPods = 256
)

// errHidden is why an examination is partial.
var errHidden = errors.New("processes outside the PID namespace of this one are not visible")

// Metrics are the metrics of the enclave memory that processes map. There are none until Watch
// has examined the processes.
type Metrics struct {
	mapped, pod, unreadable *prometheus.Desc

	latest atomic.Pointer[result]
}

// result is what an examination has found.
type result struct {
	usage Usage
	at    time.Time
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		mapped:     prometheus.NewDesc("sgx_enclave_memory_mapped_bytes", "Enclave memory that the processes of the node map. It is usually more than the EPC that they use, which Linux does not count.", nil, nil),
		pod:        prometheus.NewDesc("sgx_enclave_memory_pod_mapped_bytes", "Enclave memory that the processes of a pod map, by its UID, for the 256 pods that map the most.", []string{"uid"}, nil),
		unreadable: prometheus.NewDesc("sgx_enclave_memory_unreadable_processes", "Processes that could not be examined: what they map is missing.", nil, nil),
	}
	registry.MustRegister(m)
	return m
}

// Describe is part of prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.mapped
	out <- m.pod
	out <- m.unreadable
}

// Collect is part of prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	r := m.latest.Load()
	if r == nil || time.Since(r.at) > maxAge {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.mapped, float64(r.usage.Mapped()))
	gauge(m.unreadable, float64(r.usage.Unreadable))
	pods := r.usage.pods()
	largest := slices.SortedFunc(maps.Keys(pods), func(a, b string) int {
		return cmp.Or(cmp.Compare(pods[b], pods[a]), cmp.Compare(a, b))
	})
	for _, uid := range largest[:min(len(largest), maxPods)] {
		gauge(m.pod, float64(pods[uid]), uid)
	}
}

// pods returns how much the processes of each pod map, by its UID.
func (u Usage) pods() map[string]node.Size {
	sums := make(map[string]node.Size)
	for _, p := range u.Processes {
		if p.Pod != "" {
			sums[p.Pod] += p.Mapped
		}
	}
	return sums
}

// Watch examines the processes with find, which is Finder.Find, until ctx is done. It logs once
// what keeps it from examining them all. It does not wait for an examination that hangs, and
// begins no other one meanwhile.
func (m *Metrics) Watch(ctx context.Context, log *slog.Logger, find func(context.Context) (Usage, error)) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	type answer struct {
		usage Usage
		err   error
	}
	answers := make(chan answer, 1) // so that nobody has to wait for it
	start := func() {
		go func() {
			usage, err := find(ctx)
			answers <- answer{usage, err}
		}()
	}
	start()
	running, failing, complained := true, false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if !running {
				running = true
				start()
			}
		case a := <-answers:
			running = false
			if ctx.Err() != nil {
				return
			}
			if a.err != nil {
				if !failing {
					log.Warn("examine processes for enclave memory failed, retrying", "error", a.err)
				}
				failing = true
				continue
			}
			failing = false
			m.latest.Store(&result{a.usage, time.Now()})
			if !complained && (a.usage.Unreadable > 0 || a.usage.Partial) {
				complained = true
				log.Warn("cannot examine all processes for enclave memory", "unreadable", a.usage.Unreadable, "error", cmp.Or(a.usage.Why, errHidden), "partial", a.usage.Partial,
					"advice", "it takes hostPID, CAP_SYS_PTRACE as root, and that SELinux or AppArmor allows it; the metric sgx_enclave_memory_unreadable_processes has the number")
			}
		}
	}
}
