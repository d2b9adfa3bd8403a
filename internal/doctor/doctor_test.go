package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/node/nodetest"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

// patient returns a doctor of a machine that is a directory tree.
func patient(t *testing.T, tree nodetest.Tree) *Doctor {
	t.Helper()
	d := &Doctor{
		Socket: filepath.Join(t.TempDir(), "s"), Library: "libsgx_dcap_ql.so.1", Provider: "libdcap_quoteprov.so.1",
		Configuration: "/etc/sgx_default_qcnl.conf", Timeout: 10 * time.Second,
	}
	d.Machine.Sysroot = tree.Make(t)
	return d
}

// examine runs one check.
func (d *Doctor) examine(t *testing.T, name string) Check {
	t.Helper()
	done := d.Examine(t.Context(), name)
	if len(done) != 1 {
		t.Fatalf("%d checks named %s", len(done), name)
	}
	return done[0]
}

func (c Check) expect(t *testing.T, verdict Verdict, text string) {
	t.Helper()
	if c.Verdict != verdict || !strings.Contains(c.Seen+" "+c.Remedy, text) {
		t.Errorf("%+v, want %s and %q", c, verdict, text)
	}
	if (c.Verdict == Problem || c.Verdict == Warning) && c.Remedy == "" {
		t.Errorf("%+v has no remedy", c)
	}
}

func TestMachine(t *testing.T) {
	devices := nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": nodetest.Device}
	for _, c := range []struct {
		name, check string
		tree        nodetest.Tree
		verdict     Verdict
		text        string
	}{
		{"both devices", "devices", devices, OK, "/dev/sgx_provision"},
		{"no device", "devices", nodetest.Tree{"dev/x": ""}, Problem, "/dev/sgx_enclave does not exist"},
		{"no provision device", "devices", nodetest.Tree{"dev/sgx_enclave": nodetest.Device}, Problem, "/dev/sgx_provision does not exist"},
		{"names of Intel's driver", "devices", nodetest.Tree{"dev/sgx/enclave": nodetest.Device, "dev/sgx/provision": nodetest.Device}, OK, "/dev/sgx/enclave"},
		{"not a device", "devices", nodetest.Tree{"dev/sgx_enclave": "x"}, Problem, "not a device"},
		{"a directory", "devices", nodetest.Tree{"dev/sgx_enclave/x": ""}, Problem, "/dev/sgx_enclave is a directory, not a device remove it"},
		{"a link that leads nowhere", "devices", nodetest.Tree{"dev/sgx_enclave": "-> gone"}, Problem, "dev/sgx_enclave is a link to gone, which does not exist"},
		{"group", "group", devices, OK, "group"},
		{"no device", "group", nodetest.Tree{"dev/x": ""}, Skipped, "no provision device"},
		{"no driver", "driver", nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "1073741824\n"}, Problem, "device"},
		{"in-kernel driver", "driver", nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "1073741824\n", "dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": nodetest.Device}, OK, "in-kernel"},
		{"no EPC", "driver", nodetest.Tree{"dev/x": ""}, Skipped, "no EPC"},
		{"EPC", "processor", nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "1073741824\n"}, OK, "1024 MiB"},
		{"devices mounted, exec", "noexec", nodetest.Tree{
			"proc/self/mountinfo": "24 1 0:5 / /dev rw,noexec - tmpfs t rw\n25 24 0:6 /sgx_enclave /dev/sgx_enclave rw - devtmpfs u rw\n26 24 0:6 /sgx_provision /dev/sgx_provision rw - devtmpfs u rw\n",
			"dev/sgx_enclave":     nodetest.Device, "dev/sgx_provision": nodetest.Device}, OK, "/dev/sgx_enclave (rw)"},
		{"devices mounted, noexec", "noexec", nodetest.Tree{
			"proc/self/mountinfo": "24 1 0:5 / /dev rw - tmpfs t rw\n25 24 0:6 /sgx_enclave /dev/sgx_enclave rw,noexec - devtmpfs u rw\n",
			"dev/sgx_enclave":     nodetest.Device}, Problem, "/dev/sgx_enclave is mounted noexec"},
		{"one device mounted", "noexec", nodetest.Tree{
			"proc/self/mountinfo": "24 1 0:5 / /dev rw,noexec - tmpfs t rw\n25 24 0:6 /sgx_enclave /dev/sgx_enclave rw - devtmpfs u rw\n",
			"dev/sgx_enclave":     nodetest.Device, "dev/sgx_provision": nodetest.Device}, Problem, "/dev is mounted noexec"},
		{"exec", "noexec", nodetest.Tree{"proc/self/mountinfo": "24 1 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw\n"}, OK, "rw,nosuid"},
		{"noexec", "noexec", nodetest.Tree{"proc/self/mountinfo": "24 1 0:5 / /dev rw,noexec shared:2 - devtmpfs udev rw\n"}, Problem, "remount"},
		{"not mounted", "noexec", nodetest.Tree{"proc/self/mountinfo": "24 1 0:5 / / rw - ext4 sda rw\n"}, Skipped, "not a mount point"},
		{"no SGX", "processor", nodetest.Tree{"dev/x": "", "sys/x": "", "proc/x": ""}, Problem, ""},
		{"no library", "libraries", nodetest.Tree{"lib/x": ""}, Problem, "libsgx-dcap-ql"},
		{"a link that leads nowhere", "libraries", nodetest.Tree{"usr/lib/libsgx_dcap_ql.so.1": "-> libsgx_dcap_ql.so.1.24"}, Problem, "usr/lib/libsgx_dcap_ql.so.1 is a link to libsgx_dcap_ql.so.1.24, which does not exist"},
		{"a link that leads nowhere", "providers", nodetest.Tree{"usr/lib/libdcap_quoteprov.so.1": "-> gone"}, Problem, "is a link to gone"},
		{"an empty enclave", "enclaves", nodetest.Tree{"usr/lib/libsgx_dcap_ql.so.1": "x", "usr/lib/libsgx_qe3.signed.so.1": ""}, Problem, "is empty"},
		{"no enclave", "enclaves", nodetest.Tree{"usr/lib/libsgx_dcap_ql.so.1": "x"}, Problem, "libsgx_qe3.signed.so.1 does not exist install the package libsgx-ae-qe3"},
		{"an enclave that is a link that leads nowhere", "enclaves", nodetest.Tree{"usr/lib/libsgx_dcap_ql.so.1": "x", "usr/lib/libsgx_qe3.signed.so.1": "-> gone"}, Problem, "is a link to gone"},
		{"no library", "enclaves", nodetest.Tree{"lib/x": ""}, Skipped, "not installed"},
		{"no provider", "providers", nodetest.Tree{"lib/x": ""}, Problem, "az-dcap-client"},
		{"not a library", "libraries", nodetest.Tree{"usr/lib/libsgx_dcap_ql.so.1": "x"}, Problem, "not a shared library"},
		{"two providers", "providers", nodetest.Tree{"usr/lib/libdcap_quoteprov.so.1": "x", "usr/local/lib/libdcap_quoteprov.so": "y"}, Problem, "several"},
		{"provider with another name", "providers", nodetest.Tree{"usr/lib/libdcap_quoteprov.so": "x"}, Problem, "--dcap-provider=libdcap_quoteprov.so"},
		{"not a library", "providers", nodetest.Tree{"usr/lib/libdcap_quoteprov.so.1": "x"}, Problem, "not a shared library"},
		{"no configuration", "configuration", nodetest.Tree{"etc/x": ""}, Warning, "does not exist"},
		{"good configuration", "configuration", nodetest.Tree{"etc/sgx_default_qcnl.conf": `{"pccs_url": "https://pccs.example/sgx/certification/v4/"}`}, OK, ""},
		{"invalid configuration", "configuration", nodetest.Tree{"etc/sgx_default_qcnl.conf": "{\n\"x\" 1}"}, Problem, "qcnl.conf:2: invalid JSON"},
		{"unusual configuration", "configuration", nodetest.Tree{"etc/sgx_default_qcnl.conf": `{"pccs_url": "https://pccs.example/sgx/certification/v4/", "use_secure_cert": false}`}, Warning, "not verified"},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			t.Setenv("LD_LIBRARY_PATH", "")
			patient(t, c.tree).examine(t, c.check).expect(t, c.verdict, c.text)
		})
	}
}

func TestLibraries(t *testing.T) {
	library, err := dcaptest.Build(t.TempDir(), "node-1")
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LD_LIBRARY_PATH", library.Dir)
	d := patient(t, nil)
	d.Machine.Sysroot = "/"
	d.examine(t, "libraries").expect(t, OK, dcaptest.QuotingLibrary)
	d.examine(t, "enclaves").expect(t, OK, library.Dir)
	d.examine(t, "providers").expect(t, OK, dcaptest.Provider)
	for _, name := range []string{dcaptest.PCE, dcaptest.QE3Logic} {
		if err := os.Remove(library.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	d.examine(t, "libraries").expect(t, Problem, dcaptest.QE3Logic)
	d.examine(t, "enclaves").expect(t, Problem, "libsgx-ae-pce")
}

// A dependency is found in the library's own run path, but not just because it is in the
// same directory: the dynamic linker does not search there.
func TestRunPath(t *testing.T) {
	library, err := dcaptest.Build(t.TempDir(), "node-1")
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LD_LIBRARY_PATH", "")
	d := patient(t, nil)
	d.Machine.Sysroot = "/"
	d.Library = library.Path(dcaptest.QuotingLibrary) // its run path is $ORIGIN
	d.examine(t, "libraries").expect(t, OK, library.Dir)

	dir := t.TempDir()
	compile(t, dir, "libnone.so.1")
	d.Library = compile(t, dir, "libwithout.so", "libnone.so.1")
	d.examine(t, "libraries").expect(t, Problem, "libnone.so.1 (for libwithout.so)")
}

// compile builds an empty library that needs others.
func compile(t *testing.T, dir, name string, needed ...string) (path string) {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	args := []string{"-shared", "-nostdlib", "-x", "c", os.DevNull, "-x", "none", "-o", name, "-Wl,-soname," + name, "-Wl,--no-as-needed", "-L."}
	for _, n := range needed {
		args = append(args, "-l:"+n)
	}
	command := exec.CommandContext(t.Context(), compiler, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, name)
}

// The two providers are distinguished, and Azure's does not use Intel's configuration.
func TestProviders(t *testing.T) {
	const status = "Package: libsgx-dcap-default-qpl\nStatus: install ok installed\nVersion: 1.26.100.1-noble1\n\n" +
		"Package: az-dcap-client\nStatus: deinstall ok config-files\nVersion: 1.12\n"
	root := nodetest.Tree{"var/lib/dpkg/status": status, "usr/lib/x": ""}.Make(t)
	lib := filepath.Join(root, "usr/lib")
	t.Setenv("LD_LIBRARY_PATH", "")
	t.Setenv("AZDCAP_BASE_CERT_URL", "http://127.0.0.1:1/sgx/certification/v4/")
	d := patient(t, nil)
	d.Machine.Sysroot = root

	compile(t, lib, "libsgx_default_qcnl_wrapper.so.1")
	compile(t, lib, d.Provider, "libsgx_default_qcnl_wrapper.so.1")
	d.examine(t, "providers").expect(t, Problem, "missing dependencies: libcurl.so.4")
	compile(t, lib, "libcurl.so.4")
	d.examine(t, "providers").expect(t, OK, "(libsgx-dcap-default-qpl 1.26.100.1-noble1)")
	d.examine(t, "configuration").expect(t, Warning, "does not exist")

	compile(t, lib, d.Provider, "libcurl.so.4")
	d.examine(t, "providers").expect(t, OK, "(az-dcap-client)")
	d.examine(t, "configuration").expect(t, Skipped, "AZDCAP_")
	d.examine(t, "network").expect(t, Problem, "127.0.0.1:1")
}

func TestGroup(t *testing.T) {
	root := nodetest.Tree{"dev/sgx_provision": "", "etc/group": fmt.Sprintf("x:x:%d1:\nsgx_prv:x:%[1]d:\n", os.Getgid())}.Make(t)
	d := patient(t, nil)
	d.Machine.Sysroot = root
	for _, c := range []struct {
		mode    os.FileMode
		verdict Verdict
		text    string
	}{
		{0o666, OK, "(sgx_prv), and every user"},
		{0o600, Warning, "only root"},
	} {
		if err := os.Chmod(filepath.Join(root, "dev/sgx_provision"), c.mode); err != nil {
			t.Fatal(err)
		}
		d.examine(t, "group").expect(t, c.verdict, c.text)
	}
}

// genuine is a service that rejects reports which its processor has not made.
type genuine struct {
	aesm.Handler
	code aesm.Code // with which it rejects them
}

func (g genuine) Quote(context.Context, aesm.Caller, aesm.KeyID, sgx.Report, *aesm.Challenge) (aesm.Quoted, error) {
	return aesm.Quoted{}, g.code
}

// serve runs a daemon on the doctor's socket until the test ends.
func (d *Doctor) serve(t *testing.T, around func(aesm.Handler) aesm.Handler) {
	t.Helper()
	backend, err := simulated.New("node-1")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := aesm.Listen(d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := (&aesm.Server{Handler: around(quoting.NewService(backend, 1, nil))}).Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		serving.Wait()
	})
}

// What is in the place of the socket is named.
func TestNoSocket(t *testing.T) {
	for _, c := range []struct {
		name, content, text string
	}{
		{"a directory", "", "is a directory, not a socket mount the directory"},
		{"a file", "x", "is a file, not a socket"},
		{"a link that leads nowhere", "-> gone", "is a link to gone, which does not exist"},
	} {
		d := patient(t, nil)
		if c.content == "" {
			nodetest.Put(t, filepath.Join(d.Socket, "x"), "")
		} else {
			nodetest.Put(t, d.Socket, c.content)
		}
		d.examine(t, "socket").expect(t, Problem, c.text)
	}
}

func TestQuotes(t *testing.T) {
	d := patient(t, nil)
	d.examine(t, "socket").expect(t, Problem, "is the quote helper running")
	d.examine(t, "quote").expect(t, Problem, "is the quote helper running")

	d.serve(t, func(h aesm.Handler) aesm.Handler { return h })
	d.examine(t, "socket").expect(t, OK, "answers")
	d.examine(t, "quote").expect(t, Warning, "SIMULATED")

	for code, want := range map[aesm.Code]string{
		aesm.CodeInvalidReport:        "only an enclave can request a complete one",
		aesm.CodeAttKeyNotInitialized: "the node has had another quoting enclave",
	} {
		d = patient(t, nil)
		d.serve(t, func(h aesm.Handler) aesm.Handler { return genuine{h, code} })
		d.examine(t, "quote").expect(t, OK, "key is ready")
		if seen := d.examine(t, "quote").Seen; !strings.Contains(seen, want) || code == aesm.CodeInvalidReport && strings.Contains(seen, "another") {
			t.Errorf("%v: %s", code, seen)
		}
	}
}

// If a quote can be obtained, a machine that cannot make quotes has no problem.
func TestQuotesFromElsewhere(t *testing.T) {
	d := patient(t, nodetest.Tree{"dev/x": ""})
	d.examine(t, "devices").expect(t, Problem, "does not exist")
	if !slices.ContainsFunc(d.Examine(t.Context()), func(c Check) bool { return c.Verdict == Problem }) {
		t.Error("no problem reported without a daemon")
	}
	d.serve(t, func(h aesm.Handler) aesm.Handler { return h })
	for _, c := range d.Examine(t.Context()) {
		if c.Verdict == Problem {
			t.Errorf("%+v", c)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SGX_AESM_ADDR", "")
	patient(t, nil).examine(t, "environment").expect(t, Warning, "unset it")
	os.Unsetenv("SGX_AESM_ADDR")
	patient(t, nil).examine(t, "environment").expect(t, OK, "not set")
}

// All checks run on any machine, in their order.
func TestExamine(t *testing.T) {
	var names []string
	for _, c := range patient(t, nil).Examine(t.Context()) {
		if c.Seen == "" || c.Verdict == "" {
			t.Errorf("%+v is incomplete", c)
		}
		names = append(names, c.Name)
	}
	if !slices.Equal(names, Names()) {
		t.Errorf("%q", names)
	}
}

// Errors of Intel's library refer to checks that exist.
func TestErrorsReferToChecks(t *testing.T) {
	for code := quote3.Error(0xe001); code <= 0xe0ff; code++ {
		if check := code.Check(); check != "" && !slices.Contains(Names(), check) {
			t.Errorf("%v refers to the unknown check %q", code, check)
		}
	}
}
