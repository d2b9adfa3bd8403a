package top

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

// maxPolls is how many daemons are asked at a time: each is a process of kubectl.
const maxPolls = 8

// polled are the daemons whose metrics are shown.
var polled = map[string]bool{"sgx-device-plugin": true, "sgx-quote-helper": true}

// daemons gets the metrics of the daemons.
type daemons struct {
	kubectl   kubectl
	namespace string

	mu       sync.Mutex
	forwards map[string]*forward // by pod, of those that the API server cannot reach
	last     map[string]poll     // by pod
}

// poll is what a daemon reported, and what before.
type poll struct {
	daemon      daemon
	now, before *page // nil if it did not answer
	err         error
}

// page is a page of metrics.
type page struct {
	at     time.Time
	series map[string][]series // by name
}

type series struct {
	labels map[string]string
	value  float64
}

func newDaemons(k kubectl, namespace string) *daemons {
	return &daemons{kubectl: k, namespace: namespace, forwards: make(map[string]*forward), last: make(map[string]poll)}
}

// poll asks all daemons. It forgets those that have ended.
func (d *daemons) poll(ctx context.Context, all []daemon) {
	next := make(map[string]poll)
	var group errgroup.Group
	group.SetLimit(maxPolls)
	for _, of := range all {
		if !polled[of.kind] {
			continue
		}
		group.Go(func() error {
			now, err := d.ask(ctx, of)
			d.mu.Lock()
			defer d.mu.Unlock()
			next[of.name] = poll{daemon: of, now: now, before: d.last[of.name].now, err: err}
			return nil
		})
	}
	_ = group.Wait() // an error is part of the poll
	for name, f := range d.forwards {
		if _, exists := next[name]; !exists {
			f.close()
			delete(d.forwards, name)
		}
	}
	d.last = next
}

// close ends what is still open.
func (d *daemons) close() {
	for _, f := range d.forwards {
		f.close()
	}
}

// ask gets the metrics of a daemon: through the API server, and if that fails once, through a
// port-forward from then on.
func (d *daemons) ask(ctx context.Context, of daemon) (*page, error) {
	d.mu.Lock()
	f := d.forwards[of.name]
	d.mu.Unlock()
	if f != nil {
		text, err := f.get(ctx)
		if err == nil {
			return parse(text)
		}
		f.close() // its kubectl may have ended
		d.mu.Lock()
		delete(d.forwards, of.name)
		d.mu.Unlock()
	}
	path := "/api/v1/namespaces/" + d.namespace + "/pods/" + of.name + "/proxy/metrics" // its first port, whatever httpPort is
	text, err := d.kubectl.run(ctx, proxyTimeout, "get", "--raw", path)
	if err == nil {
		return parse(text)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	f, forwardErr := d.kubectl.forward(ctx, d.namespace, of.name)
	if forwardErr == nil {
		text, forwardErr = f.get(ctx)
		if forwardErr == nil {
			d.mu.Lock()
			d.forwards[of.name] = f
			d.mu.Unlock()
			return parse(text)
		}
		f.close()
	}
	return nil, fmt.Errorf("%w; %w", err, forwardErr)
}

// errNoMetrics is a page without metrics of confcom.
var errNoMetrics = errors.New("the page of metrics has none of confcom")

// parse parses a page of metrics.
func parse(text []byte) (*page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	p := &page{at: time.Now(), series: make(map[string][]series)}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			s := series{labels: make(map[string]string)}
			for _, label := range m.GetLabel() {
				s.labels[label.GetName()] = label.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				s.value = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				s.value = m.GetGauge().GetValue()
			default:
				continue
			}
			p.series[name] = append(p.series[name], s)
		}
	}
	if len(p.series["confcom_build_info"]) == 0 {
		return nil, errNoMetrics
	}
	return p, nil
}

// value returns the value of the series with these labels, and whether it exists.
func (p *page) value(name string, labels map[string]string) (float64, bool) {
	if p == nil {
		return 0, false
	}
	for _, s := range p.series[name] {
		if maps.Equal(s.labels, labels) {
			return s.value, true
		}
	}
	return 0, false
}

// rates returns how much each series of a counter has grown per second since the poll
// before, by a label, for those series that keep accepts. It returns nil if nothing is
// known of before.
func (p poll) rates(name, label string, keep func(labels map[string]string) bool) map[string]float64 {
	if p.now == nil || p.before == nil {
		return nil
	}
	seconds := p.now.at.Sub(p.before.at).Seconds()
	if seconds <= 0 {
		return nil
	}
	rates := make(map[string]float64)
	for _, s := range p.now.series[name] {
		if keep != nil && !keep(s.labels) {
			continue
		}
		before, _ := p.before.value(name, s.labels)
		if s.value < before { // the daemon has restarted
			before = 0
		}
		rates[s.labels[label]] += (s.value - before) / seconds
	}
	return rates
}
