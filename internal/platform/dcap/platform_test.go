package dcap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/platform/dcap/handover"
	"github.com/confcom/confcom/internal/platform/dcap/quote3"
	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

// childMode has this test binary be a worker: one that behaves, or one that does
// not start.
const childMode = "DCAP_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		goleak.VerifyTestMain(m)
	case "obedient":
		os.Exit(serve())
	default:
		fmt.Println(`{"level":"ERROR","msg":"cannot go on","error":"no library: install one"}`)
		os.Exit(1)
	}
}

// serve serves until the parent ends.
func serve() int {
	listener, err := handover.Inherit()
	if err != nil {
		return 1
	}
	p, err := simulated.New("node-1")
	if err != nil {
		return 1
	}
	_ = (&aesm.Server{Handler: obedient{p}}).Serve(context.Background(), listener)
	return 0
}

// obedient is a worker that answers a quote with the code that the report asks
// for, in its report data.
type obedient struct{ *simulated.Platform }

func (o obedient) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	return []aesm.KeyID{aesm.IntelQE3KeyID()}, nil
}

func (o obedient) InitQuote(ctx context.Context, _ aesm.KeyID) (aesm.Initialized, error) {
	return o.Platform.InitQuote(ctx)
}

func (o obedient) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	return o.Platform.QuoteSize(ctx)
}

func (o obedient) Quote(ctx context.Context, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	data := report.Body.ReportData
	if data[0] != 0 {
		return aesm.Quoted{}, aesm.Code(0xe000 | uint32(data[0]))
	}
	return o.Platform.Quote(ctx, report, challenge)
}

// startPlatform starts a platform whose workers are this program.
func startPlatform(t *testing.T, workers int, mode string) *Platform {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := Start(Options{
		Workers: workers, Program: program, Env: []string{childMode + "=" + mode},
		Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	// The program has no flags of a worker, and does not look at those that it gets.
	t.Cleanup(p.Close)
	return p
}

// A code that every worker answers reaches the client as AESM has it, after as many
// attempts as make sense, and whole in what is logged.
func TestCodes(t *testing.T) {
	const workers = 3
	p := startPlatform(t, workers, "obedient")
	ready, err := p.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); p.pool.size() < workers; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not all workers start")
		}
	}
	simulation, err := simulated.New("node-1")
	if err != nil {
		t.Fatal(err)
	}
	report, err := simulation.Report(ready.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code     quote3.Error
		aesm     aesm.Code
		layer    quoting.Layer
		attempts float64
	}{
		{quote3.NetworkError, aesm.CodeNetwork, quoting.LayerNetwork, workers},
		{0xe012, aesm.CodeOutOfEPC, quoting.LayerPlatform, workers},
		{quote3.InvalidReport, aesm.CodeInvalidReport, quoting.LayerClient, 1},
		{0xe013, aesm.CodeErrorReport, quoting.LayerClient, 1},
		{quote3.InvalidPrivilege, aesm.CodeSGXDeviceNotAvailable, quoting.LayerPlatform, 1},
		{0xe047, aesm.CodeUnexpected, quoting.LayerProvider, 1},
		{quote3.NoPlatformCertData, aesm.CodeNoPlatformCertData, quoting.LayerProvider, 2},             // and again once the key was made ready
		{quote3.AttKeyNotInitialized, aesm.CodeAttKeyNotInitialized, quoting.LayerClient, 2 * workers}, // by every worker
	} {
		before := testutil.ToFloat64(p.metrics.errors.WithLabelValues(c.code.Name()))
		asking := report
		asking.Body.ReportData[0] = byte(c.code)
		_, err := p.Quote(t.Context(), asking, nil)
		f, ok := errors.AsType[*quoting.Failure](err)
		if !ok || f.Code != c.aesm || f.Layer != c.layer || !strings.Contains(f.Error(), c.code.Error()) {
			t.Errorf("%v: got %v, want %v of the layer %s", c.code, err, c.aesm, c.layer)
		}
		if check := c.code.Check(); ok && check != "" && !strings.Contains(f.Advice, "--check="+check) {
			t.Errorf("%v: the advice is %q", c.code, f.Advice)
		}
		if n := testutil.ToFloat64(p.metrics.errors.WithLabelValues(c.code.Name())) - before; n != c.attempts {
			t.Errorf("%v: %v attempts, want %v", c.code, n, c.attempts)
		}
	}
	if quoted, err := p.Quote(t.Context(), report, nil); err != nil || !isOf(quoted.Quote, report) {
		t.Errorf("after all that: %v", err)
	}
}

// Where no worker starts, that is said at once, in the words of the worker.
func TestNoWorker(t *testing.T) {
	p := startPlatform(t, 2, "missing")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := p.InitQuote(ctx)
	f, ok := errors.AsType[*quoting.Failure](err)
	if !ok || f.Layer != quoting.LayerWorker || f.Code != aesm.CodeServiceUnavailable || !strings.Contains(f.Error(), "no library: install one") {
		t.Errorf("got %v", err)
	}
	if ctx.Err() != nil {
		t.Error("it was not said at once")
	}
}
