package dcaptest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/sgx"
)

// faulty is an initialized driver into which faults can be injected.
type faulty struct {
	*driver
	faults dcaptest.Faults
	report sgx.Report
	size   int // of a quote
}

func newFaulty(t testing.TB) *faulty {
	t.Helper()
	l := build(t)
	f := &faulty{faults: dcaptest.Faults(t.TempDir())}
	f.driver = start(t, l, provided(l, f.faults.Env())...)
	target, _ := f.init()
	f.report, f.size = newReport(t, target), f.driver.size()
	return f
}

func (f *faulty) inject(function, mode string) dcaptest.Fault {
	f.t.Helper()
	fault, err := f.faults.Inject(function, mode)
	if err != nil {
		f.t.Fatal(err)
	}
	return fault
}

func (f *faulty) quote() []byte {
	f.t.Helper()
	return f.driver.quote(f.size, f.report)
}

func TestEnds(t *testing.T) {
	for what, want := range map[string]string{
		"segv":  "signal: segmentation fault (core dumped)",
		"abort": "signal: aborted (core dumped)",
		"exit":  "exit status 3",
	} {
		for _, function := range []string{dcaptest.Quote, dcaptest.Any, dcaptest.Config} {
			t.Run(what+" "+function, func(t *testing.T) {
				f := newFaulty(t)
				fault := f.inject(function, what)
				f.send(quoteCall(f.size, f.report))
				if _, _, ok := f.receive(); ok {
					t.Fatal("the call returned")
				}
				// Whether there is a core depends on the limits.
				if err := f.cmd.Wait(); err == nil || err.Error() != want && err.Error()+" (core dumped)" != want {
					t.Errorf("the process ended with: %v, want: %s", err, want)
				}
				if !fault.Taken() {
					t.Error("the fault is still there")
				}
			})
		}
	}
}

// Of two processes, the one that calls first takes a fault.
func TestOneTakesIt(t *testing.T) {
	l := build(t)
	faults := dcaptest.Faults(t.TempDir())
	env := provided(l, faults.Env())
	first, second := start(t, l, env...), start(t, l, env...)
	if _, err := faults.Inject(dcaptest.Init, "error-e012"); err != nil {
		t.Fatal(err)
	}
	first.call(0xe012, "init")
	second.call(0, "init")
	first.call(0, "init")
}

func TestErrors(t *testing.T) {
	f := newFaulty(t)
	f.inject(dcaptest.Size, "error-e019")
	f.quote() // the fault is for another function
	f.call(0xe019, "size")
	f.inject(dcaptest.Config, "error-e011")
	f.call(0xe011, "size")
	f.inject(dcaptest.Init, "lost-once")
	f.call(0xe014, "init")
	f.init()

	sticky := f.inject(dcaptest.Any, "sticky-error-e019")
	for _, call := range []string{"init", "size", "size"} {
		f.call(0xe019, call)
	}
	if sticky.Taken() {
		t.Error("a process took the sticky fault")
	}
	if err := sticky.Cancel(); err != nil {
		t.Fatal(err)
	}
	f.quote()
	later := f.inject(dcaptest.Quote, "abort")
	if err := later.Cancel(); err != nil || !later.Taken() {
		t.Errorf("cancelled: %v", err)
	}
	f.quote()
}

func TestLost(t *testing.T) {
	f := newFaulty(t)
	f.inject(dcaptest.Quote, "lost")
	f.call(0xe014, quoteCall(f.size, f.report))
	f.call(0xe014, "size")
	f.call(0xe014, "init")
	f.call(0, "policy 1")
	f.call(0, "policy 0")
	f.init()
	verify(t, f.quote())
}

func TestSizes(t *testing.T) {
	f := newFaulty(t)
	f.inject(dcaptest.Size, "short-size")
	if n := f.driver.size(); n != f.size-100 {
		t.Errorf("short size %d of %d", n, f.size)
	}
	f.call(0xe002, quoteCall(f.size-100, f.report))
	f.inject(dcaptest.Quote, "huge")
	f.call(0xe002, quoteCall(f.size, f.report))
	if f.size = f.driver.size(); f.size != 12000+1052 {
		t.Errorf("huge size %d", f.size)
	}
	verify(t, f.quote())
}

func TestGarbage(t *testing.T) {
	f := newFaulty(t)
	genuine := f.quote()
	f.inject(dcaptest.Quote, "garbage")
	if garbage := f.quote(); bytes.Equal(garbage[:436], genuine[:436]) {
		t.Error("the quote is not garbage")
	}
	verify(t, f.quote())
}

// Some faults only take time.
func TestGoesOn(t *testing.T) {
	for _, c := range []struct {
		function, what string
		least          time.Duration
	}{
		{dcaptest.Quote, "hang-20ms", 20 * time.Millisecond},
		{dcaptest.Config, "hang-20ms", 20 * time.Millisecond},
		{dcaptest.Quote, "spin-20ms", 20 * time.Millisecond},
		{dcaptest.Quote, "grow-8", 0},
		{dcaptest.Quote, "threads", 0},
		{dcaptest.Config, "threads", 0},
	} {
		f := newFaulty(t)
		fault := f.inject(c.function, c.what)
		begin := time.Now()
		verify(t, f.quote())
		if took := time.Since(begin); took < c.least || !fault.Taken() {
			t.Errorf("%s %s: taken %t, after %s", c.function, c.what, fault.Taken(), took)
		}
	}
}

func TestHang(t *testing.T) {
	f := newFaulty(t)
	fault := f.inject(dcaptest.Quote, "hang")
	f.send(quoteCall(f.size, f.report))
	for !fault.Taken() {
		time.Sleep(time.Millisecond) // there is no event to wait for
	}
	if err := f.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := f.receive(); ok {
		t.Error("the call returned")
	}
}

func TestHandler(t *testing.T) {
	f := newFaulty(t)
	if is := start(t, build(t)).call(0, "handled")[0]; is != "no" {
		t.Errorf("SIGSEGV is handled before an enclave is loaded: %s", is)
	}
	if is := f.call(0, "handled")[0]; is != "alternate" {
		t.Errorf("SIGSEGV is handled on the stack: %s", is)
	}
	f.inject(dcaptest.Quote, "handler")
	verify(t, f.quote())
	if is := f.call(0, "handled")[0]; is != "own" {
		t.Errorf("SIGSEGV is handled on the stack: %s", is)
	}
}

func TestStrayThread(t *testing.T) {
	f := newFaulty(t)
	f.inject(dcaptest.Quote, "stray-thread-segv")
	verify(t, f.quote())
	if _, _, ok := f.receive(); ok {
		t.Error("a result without a call")
	}
	if err := f.cmd.Wait(); err == nil {
		t.Error("the process ended without an error")
	}
}

func TestDelay(t *testing.T) {
	l := build(t)
	d := start(t, l, provided(l, dcaptest.Delay(20*time.Millisecond))...)
	target, _ := d.init()
	size := d.size()
	begin := time.Now()
	d.quote(size, newReport(t, target))
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("the quote took %s", took)
	}
}

func TestRefusedFaults(t *testing.T) {
	faults := dcaptest.Faults(t.TempDir())
	for function, whats := range map[string][]string{
		dcaptest.Quote:      {"", "status-404", "answer-null", "curl-7", "sleep", "hang-", "hang-10", "error-11", "error-e11", "short-size", "segv.1", "sticky-"},
		dcaptest.Size:       {"garbage"},
		dcaptest.Config:     {"lost", "huge", "stray-thread-segv", "sticky-lost", "answer-", "answer-nil", "status-42", "curl-100"},
		dcaptest.ConfigPPID: {"segv"},
		"":                  {"segv"},
	} {
		for _, what := range whats {
			if _, err := faults.Inject(function, what); err == nil {
				t.Errorf("%q was accepted as a failure mode of %q", what, function)
			}
		}
	}
}
