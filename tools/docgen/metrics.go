package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/backend/dcap"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/deviceplugin"
	"github.com/confcom/confcom/internal/enclavememory"
	"github.com/confcom/confcom/internal/nodelabel"
	"github.com/confcom/confcom/internal/nodestatus"
	"github.com/confcom/confcom/internal/quotehelper"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/internal/verifyserver"
)

// metricSources are the functions that register metrics, with the program that
// serves them. A test checks that no package is missing.
func metricSources() []metricSource {
	return []metricSource{
		source("Every daemon", daemon.NewMetrics),
		source("sgx-device-plugin", deviceplugin.NewMetrics),
		source("sgx-device-plugin with --enclave-memory", enclavememory.NewMetrics),
		source("sgx-node-resource", nodestatus.NewMetrics),
		source("sgx-node-resource --label-node", nodelabel.NewMetrics),
		source("sgx-quote-helper", quoting.NewMetrics),
		source("sgx-quote-helper", quotehelper.NewMetrics),
		source("sgx-quote-helper with --platform=dcap", dcap.NewMetrics),
		source("confcom verifier serve", verifyserver.NewMetrics),
	}
}

type metricSource struct {
	program  string
	register func(prometheus.Registerer)
}

func source[Metrics any](program string, newMetrics func(prometheus.Registerer) Metrics) metricSource {
	return metricSource{program, func(r prometheus.Registerer) { newMetrics(r) }}
}

// recorder is a Registerer that keeps descriptions and collects nothing.
type recorder struct{ rows [][]string }

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*?)"(?:, unit: "[^"]*")?, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// Register keeps what c describes.
func (r *recorder) Register(c prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		c.Describe(descriptions)
	}()
	for d := range descriptions {
		m := description.FindStringSubmatch(d.String()) // Desc has no other accessor
		if m == nil {
			return fmt.Errorf("description of a metric not understood: %s", d)
		}
		labels := strings.FieldsFunc(m[4], func(r rune) bool { return r == ',' || r == ' ' })
		for constant := range strings.SplitSeq(m[3], ",") {
			if name, _, ok := strings.Cut(constant, "="); ok {
				labels = append(labels, name)
			}
		}
		r.rows = append(r.rows, []string{code(m[1]), kindOf(c, m[1]), codes(labels), prose(strings.ReplaceAll(m[2], `\"`, `"`))})
	}
	return nil
}

// MustRegister is Register for many.
func (r *recorder) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Unregister does nothing.
func (r *recorder) Unregister(prometheus.Collector) bool { return false }

// kindOf returns the type of a metric. Collectors that do not show it follow the
// naming rule of Prometheus.
func kindOf(c prometheus.Collector, name string) string {
	switch c.(type) {
	case prometheus.Histogram, *prometheus.HistogramVec:
		return "histogram"
	case prometheus.Gauge, *prometheus.GaugeVec:
		return "gauge"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

func metricsPage() (string, error) {
	var b strings.Builder
	var program string
	var r recorder
	flush := func() {
		if len(r.rows) > 0 {
			fmt.Fprintf(&b, "## %s\n\n%s", program, table([]string{"metric", "type", "labels", ""}, r.rows))
			r.rows = nil
		}
	}
	for _, source := range metricSources() {
		if source.program != program {
			flush()
			program = source.program
		}
		source.register(&r)
	}
	flush()
	return b.String(), nil
}
