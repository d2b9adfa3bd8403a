package dcaptest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func verify(t testing.TB, data []byte) *quote.Quote {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	q, err := quote.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	collateral, err := attesttest.NewCollateral(at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.NewVerifier(root).Verify(q, collateral, attest.Policy{AnyEnclave: true}, at); err != nil {
		t.Error(err)
	}
	return q
}

// The library makes the quotes of the simulated platform, except the signature.
func TestQuote(t *testing.T) {
	l := build(t)
	platform, err := simulated.New(node)
	if err != nil {
		t.Fatal(err)
	}
	initialized, err := platform.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := platform.Quote(t.Context(), newReport(t, initialized.TargetInfo), nil)
	if err != nil {
		t.Fatal(err)
	}

	d := start(t, l, provided(l)...)
	target, keyID := d.init()
	if target != initialized.TargetInfo || !bytes.Equal(keyID, initialized.PublicKeyID[:]) {
		t.Errorf("target info %+v and key %x, want %+v and %x", target, keyID, initialized.TargetInfo, initialized.PublicKeyID)
	}
	var again sgx.TargetInfo
	decode(t, d.call(0, "target")[0], &again)
	if again != target {
		t.Error("sgx_qe_get_target_info and sgx_ql_init_quote differ")
	}
	size := d.size()
	if size != len(want.Quote) {
		t.Errorf("size %d, want %d", size, len(want.Quote))
	}
	got := d.quote(size, newReport(t, target))
	if q := verify(t, got); *q.Enclave != newReport(t, target).Body {
		t.Error("the quote is of another enclave")
	}
	const signature, end = 436, 500
	if !bytes.Equal(got[:signature], want.Quote[:signature]) || !bytes.Equal(got[end:], want.Quote[end:]) {
		t.Error("the quote is not the simulated platform's")
	}
}

func TestChallenge(t *testing.T) {
	l := build(t)
	d := start(t, l, provided(l)...)
	target, _ := d.init()
	report, size := newReport(t, target), d.size()
	me := sgx.TargetInfo{MREnclave: report.Body.MREnclave, Attributes: report.Body.Attributes, MiscSelect: 7, ConfigSVN: 8}
	c := aesm.Challenge{Nonce: [aesm.NonceSize]byte{1, 2, 3}, Target: me}
	rest := d.call(0, challengeCall(size, report, c))
	var answer sgx.Report
	decode(t, rest[1], &answer)
	if err := simulation.DefaultCPU().Verify(answer, me); err != nil {
		t.Error(err)
	}
	hash := sha256.Sum256(append(c.Nonce[:], raw(t, rest[0])...))
	if want := (sgx.ReportData)(append(hash[:], make([]byte, 32)...)); answer.Body.ReportData != want {
		t.Errorf("report data %x, want %x", answer.Body.ReportData, want)
	}
	if answer.Body.MREnclave != target.MREnclave {
		t.Error("the answer is not the quoting enclave's")
	}
}

func TestRefused(t *testing.T) {
	l := build(t)
	d := start(t, l, provided(l)...)
	d.call(0xe00f, "size") // before init
	d.call(0xe00f, quoteCall(5000, sgx.Report{}))
	target, _ := d.init()
	report, size := newReport(t, target), d.size()
	d.call(0xe002, quoteCall(size-1, report))
	d.call(0, quoteCall(size+100, report))
	d.call(0xe00c, "policy 7")
	d.call(0xe002, "path 2 /no/such/file")
	d.call(0xe002, "path 2 "+l.Dir)
	d.call(0, "path 1 /dev/null")
	d.call(0, "path 1 "+l.Path(dcaptest.PCE))
	d.call(0xe002, "path 9 "+l.Path(dcaptest.PCE))
	for name, change := range map[string]func(*sgx.Report){
		"MAC":    func(r *sgx.Report) { r.MAC[0] ^= 1 },
		"body":   func(r *sgx.Report) { r.Body.ReportData[0] ^= 1 },
		"CPUSVN": func(r *sgx.Report) { r.Body.CPUSVN[0] ^= 1 },
		"target": func(r *sgx.Report) { *r = newReport(t, sgx.TargetInfo{}) },
	} {
		changed := report
		change(&changed)
		t.Log("another", name)
		d.call(0xe015, quoteCall(size, changed))
	}
	// For another TCB the key must be certified again.
	if err := l.LowerTCB(); err != nil {
		t.Fatal(err)
	}
	d.call(0xe00f, "size")
	d.call(0xe00f, quoteCall(size, report))
	d.init()
	verify(t, d.quote(size, report))
}

func TestFiles(t *testing.T) {
	for _, c := range []struct {
		missing string
		code    uint32
	}{
		{dcaptest.QE3, 0xe016},
		{dcaptest.IDEnclave, 0xe016},
		{dcaptest.PCE, 0xe00d},
		{dcaptest.Platform, 0xe011},
	} {
		t.Run(c.missing, func(t *testing.T) {
			l := build(t)
			if err := os.Remove(l.Path(c.missing)); err != nil {
				t.Fatal(err)
			}
			start(t, l, provided(l)...).call(c.code, "init")
		})
	}
	t.Run("empty QE", func(t *testing.T) {
		l := build(t)
		if err := os.Truncate(l.Path(dcaptest.QE3), 0); err != nil {
			t.Fatal(err)
		}
		start(t, l, provided(l)...).call(0xe003, "init")
	})
	t.Run("another file", func(t *testing.T) {
		l := build(t)
		if err := os.WriteFile(l.Path(dcaptest.QE3), []byte("another file"), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, l, provided(l)...).call(0xe016, "init")
	})
	t.Run("QE and PCE swapped", func(t *testing.T) {
		l := build(t)
		d := start(t, l, provided(l)...)
		d.call(0, "path 0 "+l.Path(dcaptest.PCE))
		d.call(0, "path 1 "+l.Path(dcaptest.QE3))
		d.send("init")
		if _, _, ok := d.receive(); ok {
			t.Fatal("the call returned")
		}
		if err := d.cmd.Wait(); err == nil || !strings.HasPrefix(err.Error(), "signal: segmentation fault") {
			t.Errorf("the process ended with: %v", err)
		}
	})
	t.Run("elsewhere", func(t *testing.T) {
		l, there := build(t), build(t)
		for _, name := range []string{dcaptest.QE3, dcaptest.IDEnclave, dcaptest.PCE, dcaptest.Provider} {
			if err := os.Remove(l.Path(name)); err != nil {
				t.Fatal(err)
			}
		}
		d := start(t, l)
		for what, name := range []string{dcaptest.QE3, dcaptest.PCE, dcaptest.Provider, dcaptest.IDEnclave} {
			d.call(0, fmt.Sprintf("path %d %s", what, there.Path(name)))
		}
		target, _ := d.init()
		verify(t, d.quote(d.size(), newReport(t, target)))
	})
}

func TestWithoutProvider(t *testing.T) {
	l := build(t)
	d := start(t, l) // the dynamic linker does not find the provider
	target, _ := d.init()
	if size := d.size(); size != 1456 {
		t.Errorf("size %d", size)
	}
	q, err := quote.Parse(d.quote(1456, newReport(t, target)))
	if err != nil {
		t.Fatal(err)
	}
	if q.Signature.CertificationData.Type != 3 {
		t.Errorf("certification data %s", q.Signature.CertificationData.Type)
	}
}

func TestOutOfProcess(t *testing.T) {
	l := build(t)
	d := start(t, l, provided(l, "SGX_AESM_ADDR=")...)
	for _, call := range []string{"policy 0", "cleanup", "path 0 " + l.Path(dcaptest.QE3)} {
		d.call(0xe03e, call)
	}
	for _, call := range []string{"target", "size", quoteCall(1456, sgx.Report{})} {
		d.call(0xe040, call)
	}
}

func TestUpdates(t *testing.T) {
	l := build(t)
	old := start(t, l, provided(l)...)
	target, _ := old.init()
	before, err := os.ReadFile(l.Path(dcaptest.QE3Logic))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Update(2); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(l.Path(dcaptest.QE3Logic)); err != nil || bytes.Equal(before, after) {
		t.Errorf("the library is the same: %v", err)
	}
	if err := l.UpdateQE(node); err != nil {
		t.Fatal(err)
	}
	// A process that has loaded the old one keeps it until it loads it again.
	verify(t, old.quote(old.size(), newReport(t, target)))
	updated := start(t, l, provided(l)...)
	newTarget, _ := updated.init()
	if newTarget.MREnclave == target.MREnclave {
		t.Fatal("the QE has the same MRENCLAVE")
	}
	size := updated.size()
	verify(t, updated.quote(size, newReport(t, newTarget)))
	updated.call(0xe015, quoteCall(size, newReport(t, target)))
	old.call(0, "policy 1")
	old.call(0, "policy 0")
	if again, _ := old.init(); again != newTarget {
		t.Error("the enclave was not loaded again")
	}
}

func TestKeyID(t *testing.T) {
	l := build(t)
	id := raw(t, start(t, l).call(0, "keyid")[0])
	want := aesm.IntelQE3KeyID()
	if !bytes.Equal(id, want[:]) {
		t.Errorf("%x, want %x", id, want)
	}
}

func TestCounters(t *testing.T) {
	l := build(t)
	counters := dcaptest.Counters(t.TempDir())
	d := start(t, l, provided(l, counters.Env())...)
	target, _ := d.init()
	d.quote(d.size(), newReport(t, target))
	for function, want := range map[string]int{
		dcaptest.Init: 1, dcaptest.Size: 1, dcaptest.Quote: 1, dcaptest.Config: 4, dcaptest.ConfigPPID: 1,
	} {
		if n, err := counters.Count(function); err != nil || n != want {
			t.Errorf("%s: %d, %v, want %d", function, n, err, want)
		}
	}
	if calls, err := counters.Calls(dcaptest.Config); err != nil || calls[d.cmd.Process.Pid] != 4 {
		t.Errorf("by process: %v, %v", calls, err)
	}
}

// The library logs its errors through the callback.
func TestLog(t *testing.T) {
	l := build(t)
	if err := os.Remove(l.Path(dcaptest.QE3)); err != nil {
		t.Fatal(err)
	}
	d := start(t, l, provided(l)...)
	d.call(0, "log 0")
	d.call(0xe016, "init")
	if err := d.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if logged := d.stderr.String(); !strings.HasPrefix(logged, "log 0: ") || !strings.Contains(logged, "libsgx_qe3.signed.so") {
		t.Errorf("it logged %q", logged)
	}
}

func TestNoCompiler(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := dcaptest.Build(t.TempDir(), node); !errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Errorf("without a compiler: %v", err)
	}
}
