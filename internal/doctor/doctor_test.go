package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/node/nodetest"
	"github.com/confcom/confcom/internal/platform/dcap/quote3"
	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/test/dcapstub"
)

// patient is a doctor of a machine that is a directory tree.
func patient(t *testing.T, tree nodetest.Tree) *Doctor {
	t.Helper()
	d := &Doctor{
		Socket: filepath.Join(t.TempDir(), "s"), Library: "libsgx_dcap_ql.so.1", Provider: "libdcap_quoteprov.so.1",
		Configuration: "/etc/sgx_default_qcnl.conf", Timeout: 10 * time.Second,
	}
	d.Machine.Sysroot = tree.Make(t)
	return d
}

// examine makes one check.
func (d *Doctor) examine(t *testing.T, name string) Check {
	t.Helper()
	done := d.Examine(t.Context(), func(n string) bool { return n == name })
	if len(done) != 1 {
		t.Fatalf("%d checks are called %s", len(done), name)
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
		{"no device", "devices", nodetest.Tree{"dev/x": ""}, Problem, "/dev/sgx_enclave is not here"},
		{"no provision device", "devices", nodetest.Tree{"dev/sgx_enclave": nodetest.Device}, Problem, "/dev/sgx_provision is not here"},
		{"old names", "devices", nodetest.Tree{"dev/sgx/enclave": nodetest.Device, "dev/sgx/provision": nodetest.Device}, OK, "/dev/sgx/enclave"},
		{"a file", "devices", nodetest.Tree{"dev/sgx_enclave": "x"}, Problem, "no device"},
		{"a group", "group", devices, OK, "group"},
		{"no group", "group", nodetest.Tree{"dev/x": ""}, Skipped, "no provision device"},
		{"exec", "noexec", nodetest.Tree{"proc/self/mountinfo": "24 1 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw\n"}, OK, "rw,nosuid"},
		{"noexec", "noexec", nodetest.Tree{"proc/self/mountinfo": "24 1 0:5 / /dev rw,noexec shared:2 - devtmpfs udev rw\n"}, Problem, "remount"},
		{"no mount", "noexec", nodetest.Tree{"proc/self/mountinfo": "24 1 0:5 / / rw - ext4 sda rw\n"}, Skipped, "no mount"},
		{"no SGX", "processor", nodetest.Tree{"dev/x": "", "sys/x": "", "proc/x": ""}, Problem, ""},
		{"no library", "libraries", nodetest.Tree{"lib/x": ""}, Problem, "libsgx-dcap-ql"},
		{"no library", "enclaves", nodetest.Tree{"lib/x": ""}, Skipped, "no quoting library"},
		{"no provider", "providers", nodetest.Tree{"lib/x": ""}, Problem, "az-dcap-client"},
		{"a library that is none", "libraries", nodetest.Tree{"usr/lib/libsgx_dcap_ql.so.1": "x"}, Problem, "no library"},
		{"two providers", "providers", nodetest.Tree{"usr/lib/libdcap_quoteprov.so.1": "x", "usr/local/lib/libdcap_quoteprov.so": "y"}, Problem, "several"},
		{"no configuration", "configuration", nodetest.Tree{"etc/x": ""}, Warning, "is not here"},
		{"good configuration", "configuration", nodetest.Tree{"etc/sgx_default_qcnl.conf": `{"pccs_url": "https://pccs.example/sgx/certification/v4/"}`}, OK, ""},
		{"bad configuration", "configuration", nodetest.Tree{"etc/sgx_default_qcnl.conf": "{\n\"x\" 1}"}, Problem, "qcnl.conf:2: this is no valid JSON"},
		{"remarkable configuration", "configuration", nodetest.Tree{"etc/sgx_default_qcnl.conf": `{"pccs_url": "https://pccs.example/sgx/certification/v4/", "use_secure_cert": false}`}, Warning, "not checked"},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			t.Setenv("LD_LIBRARY_PATH", "")
			patient(t, c.tree).examine(t, c.check).expect(t, c.verdict, c.text)
		})
	}
}

func TestLibraries(t *testing.T) {
	library, err := dcapstub.Build(t.TempDir(), "node-1")
	if errors.Is(err, dcapstub.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LD_LIBRARY_PATH", library.Dir)
	d := patient(t, nil)
	d.Machine.Sysroot = "/"
	d.examine(t, "libraries").expect(t, OK, dcapstub.QuotingLibrary)
	d.examine(t, "enclaves").expect(t, OK, library.Dir)
	d.examine(t, "providers").expect(t, OK, dcapstub.Provider)
	for _, name := range []string{dcapstub.PCE, dcapstub.QE3Logic} {
		if err := os.Remove(library.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	d.examine(t, "libraries").expect(t, Problem, dcapstub.QE3Logic)
	d.examine(t, "enclaves").expect(t, Problem, "libsgx-ae-pce")
}

func TestNetwork(t *testing.T) {
	hanging := make(chan struct{})
	var date string
	mux := http.NewServeMux()
	mux.HandleFunc("/sgx/certification/v4/", func(w http.ResponseWriter, _ *http.Request) {
		if date != "" {
			w.Header().Set("Date", date)
		}
		w.WriteHeader(http.StatusNotFound) // it is there
	})
	mux.HandleFunc("/broken/sgx/certification/v4/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/hanging/sgx/certification/v4/", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	defer close(hanging)
	gone := httptest.NewServer(nil)
	gone.Close()

	for _, c := range []struct {
		name, check, url string
		trust            bool // do not check TLS
		date             time.Time
		verdict          Verdict
		text             string
	}{
		{"there", "network", server.URL, true, time.Time{}, OK, "404"},
		{"not trusted", "network", server.URL, false, time.Time{}, Problem, "use_secure_cert"},
		{"broken", "network", server.URL + "/broken", true, time.Time{}, Problem, "502"},
		{"hanging", "network", server.URL + "/hanging", true, time.Time{}, Problem, "firewalls"},
		{"gone", "network", gone.URL, true, time.Time{}, Problem, "connection refused"},
		{"no such host", "network", "https://pccs.invalid", true, time.Time{}, Problem, "DNS"},
		{"the time", "clock", server.URL, true, time.Now(), OK, "as that of"},
		{"another time", "clock", server.URL, true, time.Now().Add(-time.Hour), Problem, "1h0m"},
		{"no time", "clock", gone.URL, true, time.Time{}, Skipped, ""},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			date = ""
			if !c.date.IsZero() {
				date = c.date.UTC().Format(http.TimeFormat)
			}
			d := patient(t, nodetest.Tree{"etc/sgx_default_qcnl.conf": fmt.Sprintf(`{"pccs_url": "%s/sgx/certification/v4/", "use_secure_cert": %t}`, c.url, !c.trust)})
			if c.name == "hanging" {
				d.Timeout = 300 * time.Millisecond
			}
			d.examine(t, c.check).expect(t, c.verdict, c.text)
		})
	}
}

func TestQuotes(t *testing.T) {
	d := patient(t, nil)
	d.examine(t, "socket").expect(t, Problem, "is the quote helper running")
	d.examine(t, "quote").expect(t, Problem, "is the quote helper running")

	platform, err := simulated.New("node-1")
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
		if err := (&aesm.Server{Handler: quoting.NewService(platform, 1, nil)}).Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer stop()
	d.examine(t, "socket").expect(t, OK, "answers")
	d.examine(t, "quote").expect(t, Warning, "SIMULATED")
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SGX_AESM_ADDR", "")
	patient(t, nil).examine(t, "environment").expect(t, Warning, "unset it")
	os.Unsetenv("SGX_AESM_ADDR")
	patient(t, nil).examine(t, "environment").expect(t, OK, "not set")
}

// All checks are made, in their order, whatever the machine.
func TestExamine(t *testing.T) {
	var names []string
	for _, c := range patient(t, nil).Examine(t.Context(), func(string) bool { return true }) {
		if c.Seen == "" || c.Verdict == "" {
			t.Errorf("%+v says nothing", c)
		}
		names = append(names, c.Name)
	}
	if !slices.Equal(names, Names()) {
		t.Errorf("%q", names)
	}
}

// Errors of Intel's library point to checks that there are.
func TestErrorsPointHere(t *testing.T) {
	for code := quote3.Error(0xe001); code <= 0xe0ff; code++ {
		if check := code.Check(); check != "" && !slices.Contains(Names(), check) {
			t.Errorf("%v points to %q", code, check)
		}
	}
}
