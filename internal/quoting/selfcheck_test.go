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

// reporting is a stub that is a Reporter.
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
		want    string // part of the error, "" for none
	}{
		{"simulated", simulation, ""},
		{"simulated, not a Reporter", struct{ Backend }{simulation}, ""},
		{"Reporter", &reporting{report: report}, ""},
		{"Quote is not called without a Reporter", &stub{quote: noQuote}, ""},
		{"InitQuote fails", &stub{init: noInit}, "backend: the cause"},
		{"QuoteSize fails", &stub{size: noSize}, "backend: the cause"},
		{"Report fails", &reporting{report: func() (sgx.Report, error) { return sgx.Report{}, cause }}, "the cause"},
		{"Quote fails", &reporting{stub{quote: noQuote}, report}, "backend: the cause"},
		{"quote of another size", &reporting{stub{quote: shorter}, report}, "size of the quote differs"},
		{"report for another target", wrongReports{simulation}, "client: INVALID_REPORT"},
		{"panic", &stub{init: func(context.Context) (aesm.Initialized, error) { panic("at the disco") }}, "panic in the quote backend: at the disco\n"},
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
				t.Errorf("%v panics counted, want %v", got, panics)
			}
			expectIdle(t, s.queue)
		})
	}
}

// wrongReports makes reports for an empty target.
type wrongReports struct{ *simulated.Backend }

func (p wrongReports) Report(sgx.TargetInfo) (sgx.Report, error) {
	return p.Backend.Report(sgx.TargetInfo{})
}
