package dcaptest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/sgx"
)

// ordered is a driver that follows orders, initialized.
type ordered struct {
	*driver
	commands dcaptest.Commands
	report   sgx.Report
	size     int // of a quote
}

func newOrdered(t testing.TB) *ordered {
	t.Helper()
	l := build(t)
	o := &ordered{commands: dcaptest.Commands(t.TempDir())}
	o.driver = start(t, l, provided(l, o.commands.Env())...)
	target, _ := o.init()
	o.report, o.size = newReport(t, target), o.driver.size()
	return o
}

func (o *ordered) order(function, what string) dcaptest.Order {
	o.t.Helper()
	order, err := o.commands.Order(function, what)
	if err != nil {
		o.t.Fatal(err)
	}
	return order
}

func (o *ordered) quote() []byte {
	o.t.Helper()
	return o.driver.quote(o.size, o.report)
}

func TestEnds(t *testing.T) {
	for what, want := range map[string]string{
		"segv":  "signal: segmentation fault (core dumped)",
		"abort": "signal: aborted (core dumped)",
		"exit":  "exit status 3",
	} {
		for _, function := range []string{dcaptest.Quote, dcaptest.Any, dcaptest.Config} {
			t.Run(what+" "+function, func(t *testing.T) {
				o := newOrdered(t)
				order := o.order(function, what)
				o.send(quoteCall(o.size, o.report))
				if _, _, ok := o.receive(); ok {
					t.Fatal("the call returned")
				}
				// Whether there is a core depends on the limits.
				if err := o.cmd.Wait(); err == nil || err.Error() != want && err.Error()+" (core dumped)" != want {
					t.Errorf("it ended with: %v, want: %s", err, want)
				}
				if !order.Taken() {
					t.Error("the order is still there")
				}
			})
		}
	}
}

// Of two processes, the one that calls first takes an order.
func TestOneTakesIt(t *testing.T) {
	l := build(t)
	commands := dcaptest.Commands(t.TempDir())
	env := provided(l, commands.Env())
	first, second := start(t, l, env...), start(t, l, env...)
	if _, err := commands.Order(dcaptest.Init, "error-e012"); err != nil {
		t.Fatal(err)
	}
	first.call(0xe012, "init")
	second.call(0, "init")
	first.call(0, "init")
}

func TestErrors(t *testing.T) {
	o := newOrdered(t)
	o.order(dcaptest.Size, "error-e019")
	o.quote() // not for this function
	o.call(0xe019, "size")
	o.order(dcaptest.Config, "error-e011")
	o.call(0xe011, "size")
	o.order(dcaptest.Init, "lost-once")
	o.call(0xe014, "init")
	o.init()

	sticky := o.order(dcaptest.Any, "sticky-error-e019")
	for _, call := range []string{"init", "size", "size"} {
		o.call(0xe019, call)
	}
	if sticky.Taken() {
		t.Error("a process took the sticky order")
	}
	if err := sticky.Cancel(); err != nil {
		t.Fatal(err)
	}
	o.quote()
	later := o.order(dcaptest.Quote, "abort")
	if err := later.Cancel(); err != nil || !later.Taken() {
		t.Errorf("cancelled: %v", err)
	}
	o.quote()
}

func TestLost(t *testing.T) {
	o := newOrdered(t)
	o.order(dcaptest.Quote, "lost")
	o.call(0xe014, quoteCall(o.size, o.report))
	o.call(0xe014, "size")
	o.call(0xe014, "init")
	o.call(0, "policy 1")
	o.call(0, "policy 0")
	o.init()
	verify(t, o.quote())
}

func TestSizes(t *testing.T) {
	o := newOrdered(t)
	o.order(dcaptest.Size, "short-size")
	if n := o.driver.size(); n != o.size-100 {
		t.Errorf("short size %d of %d", n, o.size)
	}
	o.call(0xe002, quoteCall(o.size-100, o.report))
	o.order(dcaptest.Quote, "huge")
	o.call(0xe002, quoteCall(o.size, o.report))
	if o.size = o.driver.size(); o.size != 12000+1052 {
		t.Errorf("huge size %d", o.size)
	}
	verify(t, o.quote())
}

func TestGarbage(t *testing.T) {
	o := newOrdered(t)
	genuine := o.quote()
	o.order(dcaptest.Quote, "garbage")
	if garbage := o.quote(); bytes.Equal(garbage[:436], genuine[:436]) {
		t.Error("the quote is none that was made up")
	}
	verify(t, o.quote())
}

// What takes time but goes on, with the time that it takes at least.
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
		o := newOrdered(t)
		order := o.order(c.function, c.what)
		begin := time.Now()
		verify(t, o.quote())
		if took := time.Since(begin); took < c.least || !order.Taken() {
			t.Errorf("%s %s: taken %t, after %s", c.function, c.what, order.Taken(), took)
		}
	}
}

func TestHang(t *testing.T) {
	o := newOrdered(t)
	order := o.order(dcaptest.Quote, "hang")
	o.send(quoteCall(o.size, o.report))
	for !order.Taken() {
		time.Sleep(time.Millisecond) // nothing tells when a process takes it
	}
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := o.receive(); ok {
		t.Error("the call returned")
	}
}

func TestHandler(t *testing.T) {
	o := newOrdered(t)
	if is := o.call(0, "handled")[0]; is != "no" {
		t.Fatalf("SIGSEGV is handled before: %s", is)
	}
	o.order(dcaptest.Quote, "handler")
	verify(t, o.quote())
	if is := o.call(0, "handled")[0]; is != "own" {
		t.Errorf("SIGSEGV is handled on the stack: %s", is)
	}
}

func TestStrayThread(t *testing.T) {
	o := newOrdered(t)
	o.order(dcaptest.Quote, "stray-thread-segv")
	verify(t, o.quote())
	if _, _, ok := o.receive(); ok {
		t.Error("an answer to nothing")
	}
	if err := o.cmd.Wait(); err == nil {
		t.Error("the process ended well")
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

func TestNoOrders(t *testing.T) {
	commands := dcaptest.Commands(t.TempDir())
	for function, whats := range map[string][]string{
		dcaptest.Quote:      {"", "sleep", "hang-", "hang-10", "error-11", "error-e11", "short-size", "segv.1", "sticky-"},
		dcaptest.Size:       {"garbage"},
		dcaptest.Config:     {"lost", "huge", "stray-thread-segv", "sticky-lost"},
		dcaptest.ConfigPPID: {"segv"},
		"":                  {"segv"},
	} {
		for _, what := range whats {
			if _, err := commands.Order(function, what); err == nil {
				t.Errorf("%q was ordered to %q", what, function)
			}
		}
	}
}
