package quoting

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/sgx"
)

// reporting is a stub that makes reports.
type reporting struct {
	stub
	report func() (sgx.Report, error)
}

func (p *reporting) Report(sgx.TargetInfo) (sgx.Report, error) { return p.report() }

func TestCheck(t *testing.T) {
	cause := errors.New("the cause")
	report := func() (sgx.Report, error) { return sgx.Report{}, nil }
	noInit := func(context.Context) (aesm.Initialized, error) { return aesm.Initialized{}, cause }
	noSize := func(context.Context) (int, error) { return 0, cause }
	noQuote := func(context.Context) (aesm.Quoted, error) { return aesm.Quoted{}, cause }
	shorter := func(context.Context) (aesm.Quoted, error) { return aesm.Quoted{Quote: make([]byte, stubSize-1)}, nil }
	simulation, err := simulated.New("node")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		backend Backend
		want    string // a part of the error, "" for none
	}{
		{"simulated", simulation, ""},
		{"simulated, without reports", struct{ Backend }{simulation}, ""},
		{"a quote is made", &reporting{report: report}, ""},
		{"without reports no quote is made", &stub{quote: noQuote}, ""},
		{"no InitQuote", &stub{init: noInit}, "backend: the cause"},
		{"no QuoteSize", &stub{size: noSize}, "backend: the cause"},
		{"no report", &reporting{report: func() (sgx.Report, error) { return sgx.Report{}, cause }}, "the cause"},
		{"no Quote", &reporting{stub{quote: noQuote}, report}, "backend: the cause"},
		{"a quote of another size", &reporting{stub{quote: shorter}, report}, "another size"},
		{"a report for another platform", wrongReports{simulation}, "client: INVALID_REPORT"},
		{"a bug", &stub{init: func(context.Context) (aesm.Initialized, error) { panic("at the disco") }}, "panic: at the disco\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			metrics := NewMetrics(prometheus.NewRegistry())
			s := NewService(tt.backend, 1, metrics)
			switch err := s.Check(t.Context()); {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
			panics := 0.0
			if strings.HasPrefix(tt.want, "panic") {
				panics = 1
			}
			if got := testutil.ToFloat64(metrics.panics); got != panics {
				t.Errorf("%v panics were counted", got)
			}
			expectIdle(t, s.queue)
		})
	}
}

// wrongReports makes its reports for nobody.
type wrongReports struct{ *simulated.Backend }

func (p wrongReports) Report(sgx.TargetInfo) (sgx.Report, error) {
	return p.Backend.Report(sgx.TargetInfo{})
}
