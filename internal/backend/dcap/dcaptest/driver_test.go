package dcaptest_test

import (
	"bufio"
	"bytes"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

const node = "node-1"

// driverProgram is the path of the compiled driver, or empty without a compiler.
var driverProgram string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dcaptest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if _, err := exec.LookPath("gcc"); err == nil {
		driverProgram = filepath.Join(dir, "driver")
		if out, err := exec.Command("gcc", "-Wall", "-Werror", "-o", driverProgram, "testdata/driver.c", "-ldl").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "driver.c: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// build builds the library, or skips the test if there is no compiler.
func build(t testing.TB) *dcaptest.Library {
	t.Helper()
	l, err := dcaptest.Build(t.TempDir(), node)
	if errors.Is(err, dcaptest.ErrNoCompiler) || (err == nil && driverProgram == "") {
		t.Skipf("NOT RUN: there is no compiler: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// driver is a process that has loaded the library.
type driver struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	stderr bytes.Buffer // may be read once the process has ended
}

func start(t testing.TB, l *dcaptest.Library, env ...string) *driver {
	t.Helper()
	d := &driver{t: t, cmd: exec.Command(driverProgram, l.Path(dcaptest.QuotingLibrary))}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stderr = &d.stderr
	var err error
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.stdout = bufio.NewScanner(stdout)
	d.stdout.Buffer(nil, 1<<20)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it may have ended
		_ = d.cmd.Wait()         // it may have been waited for
		if t.Failed() && d.stderr.Len() > 0 {
			t.Logf("the driver printed: %s", &d.stderr)
		}
	})
	return d
}

// provided returns the environment in which the library finds its provider, and more.
func provided(l *dcaptest.Library, more ...string) []string { return append(l.Env(), more...) }

func (d *driver) send(call string) {
	d.t.Helper()
	if _, err := io.WriteString(d.stdin, call+"\n"); err != nil {
		d.t.Fatal(err)
	}
}

// receive returns the code of a call and the rest of its output. ok is false if the
// process has ended.
func (d *driver) receive() (code uint32, rest []string, ok bool) {
	d.t.Helper()
	if !d.stdout.Scan() {
		return 0, nil, false
	}
	fields := strings.Fields(d.stdout.Text())
	n, err := strconv.ParseUint(fields[0], 16, 32)
	if err != nil {
		d.t.Fatal(err)
	}
	return uint32(n), fields[1:], true
}

// call makes a call that must return the code want.
func (d *driver) call(want uint32, call string) []string {
	d.t.Helper()
	d.send(call)
	code, rest, ok := d.receive()
	if !ok {
		d.t.Fatalf("%.20s: the process ended: %v\n%s", call, d.cmd.Wait(), &d.stderr)
	}
	if code != want {
		d.t.Fatalf("%.20s: 0x%04x, want 0x%04x", call, code, want)
	}
	return rest
}

// init initializes and returns the QE's target info.
func (d *driver) init() (target sgx.TargetInfo, keyID []byte) {
	d.t.Helper()
	rest := d.call(0, "init")
	decode(d.t, rest[0], &target)
	return target, raw(d.t, rest[1])
}

func (d *driver) size() int {
	d.t.Helper()
	n, err := strconv.Atoi(d.call(0, "size")[0])
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// quote returns a quote of report.
func (d *driver) quote(size int, report sgx.Report) []byte {
	d.t.Helper()
	return raw(d.t, d.call(0, quoteCall(size, report))[0])
}

func quoteCall(size int, report sgx.Report) string {
	return fmt.Sprintf("quote %d %s", size, text(report))
}

func challengeCall(size int, report sgx.Report, c aesm.Challenge) string {
	return fmt.Sprintf("challenge %d %s %x%s", size, text(report), c.Nonce, text(c.Target))
}

// newReport returns the report of an enclave for the QE.
func newReport(t testing.TB, target sgx.TargetInfo) sgx.Report {
	t.Helper()
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{MREnclave: sgx.Measurement{1}, ReportData: sgx.ReportData{2}}, target)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func text(v encoding.BinaryMarshaler) string {
	b, err := v.MarshalBinary()
	if err != nil {
		panic(err) // none of these fails
	}
	return hex.EncodeToString(b)
}

func raw(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, text string, v encoding.BinaryUnmarshaler) {
	t.Helper()
	if err := v.UnmarshalBinary(raw(t, text)); err != nil {
		t.Fatal(err)
	}
}
