package quoting

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/aesm"
)

const (
	// maxCountedPods is how many pods have metrics of their own. Another one replaces that
	// whose last request was the longest ago. A kubelet runs 110 pods by default.
	maxCountedPods = 256
	// podIdle is how long after its last request a pod has metrics. The helper does not
	// know when a pod ends.
	podIdle = time.Hour
)

// podCounts counts what pods got. The pods are those that the kernel names, and there is a
// limit on their number, so the number of series is bounded.
type podCounts struct {
	quotes, errors *prometheus.Desc

	mu   sync.Mutex
	pods map[string]*podCount // by UID
}

type podCount struct {
	quotes, errors int
	last           time.Time // when its last request ended
}

func newPodCounts() *podCounts {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"uid"}, nil) }
	return &podCounts{
		quotes: desc("sgx_quote_helper_pod_quotes_total", "Quotes that a pod got, by its UID, until an hour after its last request. Callers that are not in a pod are only in sgx_quote_helper_requests_total."),
		errors: desc("sgx_quote_helper_pod_errors_total", "Requests of a pod that were answered with an error, by its UID, until an hour after its last request."),
		pods:   make(map[string]*podCount),
	}
}

// count counts an answer to a pod.
func (p *podCounts) count(e aesm.Exchange, now time.Time) {
	uid := peerOf(e.Peer).Pod
	if uid == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.pods[uid]
	if c == nil {
		p.makeRoom(now)
		c = new(podCount)
		p.pods[uid] = c
	}
	c.last = now
	switch {
	case e.Code != aesm.CodeSuccess:
		c.errors++
	case e.Report != nil:
		c.quotes++
	}
}

// makeRoom drops the pods that are idle and, if there is no room then, the one that has been
// for the longest time. The caller holds the lock.
func (p *podCounts) makeRoom(now time.Time) {
	if len(p.pods) < maxCountedPods {
		return
	}
	p.dropIdle(now)
	if len(p.pods) < maxCountedPods {
		return
	}
	var oldest string
	for uid, c := range p.pods {
		if oldest == "" || c.last.Before(p.pods[oldest].last) {
			oldest = uid
		}
	}
	delete(p.pods, oldest)
}

// dropIdle drops the pods that are idle. The caller holds the lock.
func (p *podCounts) dropIdle(now time.Time) {
	for uid, c := range p.pods {
		if now.Sub(c.last) >= podIdle {
			delete(p.pods, uid)
		}
	}
}

// Describe is part of prometheus.Collector.
func (p *podCounts) Describe(out chan<- *prometheus.Desc) {
	out <- p.quotes
	out <- p.errors
}

// Collect is part of prometheus.Collector.
func (p *podCounts) Collect(out chan<- prometheus.Metric) {
	p.mu.Lock()
	p.dropIdle(time.Now())
	metrics := make([]prometheus.Metric, 0, 2*len(p.pods))
	for uid, c := range p.pods {
		metrics = append(metrics,
			prometheus.MustNewConstMetric(p.quotes, prometheus.CounterValue, float64(c.quotes), uid),
			prometheus.MustNewConstMetric(p.errors, prometheus.CounterValue, float64(c.errors), uid))
	}
	p.mu.Unlock()
	for _, m := range metrics {
		out <- m
	}
}
