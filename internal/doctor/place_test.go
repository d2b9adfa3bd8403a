package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node/nodetest"
)

// report returns what a daemon reports that sees the same files as the test.
func report(name string, flags map[string]string, conditions ...daemon.ConditionState) *daemon.State {
	state := &daemon.State{Daemon: name, Version: "1.2.3", Ready: true, Conditions: conditions,
		Settings: &daemon.Settings{Flags: flags, Files: daemon.Files()}}
	for _, c := range conditions {
		state.Ready = state.Ready && c.Met
	}
	return state
}

// Ask understands what a daemon serves, and nothing else.
func TestAsk(t *testing.T) {
	want := report(helperName, map[string]string{"platform": "dcap"}, daemon.ConditionState{Name: "quotes", Reason: "no device", Advice: "load the driver"})
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, answer string
		want         *daemon.State
	}{
		{"a daemon", string(text), want},
		{"another server", "<html>", nil},
		{"another server with JSON", `{"version": "1"}`, nil},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/statusz" {
				_, _ = w.Write([]byte(c.answer))
			}
		}))
		address := strings.TrimPrefix(server.URL, "http://")
		if diff := cmp.Diff(c.want, Ask(t.Context(), address)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		server.Close()
		if got := Ask(t.Context(), address); got != nil {
			t.Errorf("from nobody: %+v", got)
		}
	}
}

// A daemon of another user is not believed.
func TestOwnPort(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	row := func(address, state string, uid int) string {
		return fmt.Sprintf("   0: %s 00000000:0000 %s 00000000:00000000 00:00000000 00000000 %5d        0 1\n", address, state, uid)
	}
	own, other := os.Geteuid(), os.Geteuid()+1
	for _, c := range []struct {
		name, table string
		want        bool
	}{
		{"own", row("0100007F:1F90", "0A", own), true},
		{"root's", row("00000000:1F90", "0A", 0), true},
		{"another user's", row("0100007F:1F90", "0A", other), false},
		{"own and another user's", row("0100007F:1F90", "0A", own) + row("00000000:1F90", "0A", other), false},
		{"a connection", row("0100007F:1F90", "01", own), false},
		{"another port", row("0100007F:1F91", "0A", own), false},
		{"none", "", false},
	} {
		table := filepath.Join(t.TempDir(), "tcp")
		if err := os.WriteFile(table, []byte(header+c.table), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ownPort("8080", "/nonexistent", table); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	if ownPort("http", "/nonexistent") {
		t.Error("a port that is no number")
	}
}

// The doctor takes over the flags of a daemon whose files it sees.
func TestHere(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	flags := map[string]string{"qcnl-config": "/etc/confcom/q.conf", "socket": "/s", "log-level": "debug"}
	elsewhere := report(helperName, flags)
	elsewhere.Files = "mnt:[1]"
	for _, c := range []struct {
		name    string
		told    *daemon.State
		want    Place
		adopted map[string]string
	}{
		{"the helper's pod", report(helperName, flags), Helper, map[string]string{"qcnl-config": "/etc/confcom/q.conf", "socket": "/s"}},
		{"another daemon's pod", report("sgx-device-plugin", map[string]string{"sysroot": "/host"}), OtherDaemon, map[string]string{"sysroot": "/host"}},
		{"another pod", nil, Application, nil},
		{"on the network of a helper", elsewhere, Application, nil},
	} {
		if got := Here(c.told); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if diff := cmp.Diff(c.adopted, Adopted(c.told)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// What the quote helper knows is passed on.
func TestTold(t *testing.T) {
	unmet := daemon.ConditionState{Name: "quotes", Reason: "device: quoting library: SGX_QL_NO_DEVICE (0xe03f)", Advice: "the worker has no SGX device (confcom doctor --check=devices)"}
	d := patient(t, nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": nodetest.Device})
	d.Place = Helper
	d.examine(t, "helper").expect(t, Skipped, "no daemon")

	d.Told = report(helperName, map[string]string{"platform": "dcap"}, daemon.ConditionState{Name: "quotes", Met: true})
	d.examine(t, "helper").expect(t, OK, "sgx-quote-helper 1.2.3 with --platform=dcap is ready")
	d.examine(t, "devices").expect(t, OK, "sgx_enclave")

	d.Told = report(helperName, map[string]string{"platform": "dcap"}, unmet, daemon.ConditionState{Name: "socket", Reason: "another daemon serves it"})
	for _, c := range []struct{ check, text string }{
		{"helper", "is not ready: quotes: device: quoting library: SGX_QL_NO_DEVICE (0xe03f); socket: another daemon serves it the worker has no SGX device"},
		{"devices", "but the quote helper reports quotes: device: quoting library: SGX_QL_NO_DEVICE"},
		{"socket", "no such file or directory; the quote helper reports quotes: device"},
		{"quote", "SGX_QL_NO_DEVICE"},
	} {
		d.examine(t, c.check).expect(t, Problem, c.text)
	}
	// The helper's cause is shown once.
	checks := d.Examine(t.Context(), "devices", "helper", "socket")
	checks[0].expect(t, Problem, "SGX_QL_NO_DEVICE")
	checks[2].expect(t, Problem, "see the check helper")
	if checks[0].Name != "devices" || strings.Contains(checks[2].Seen, "SGX_QL_NO_DEVICE") {
		t.Errorf("%+v", checks)
	}
	// A check that has found the cause is enough.
	checks = d.Examine(t.Context(), "devices", "libraries", "helper")
	checks[0].expect(t, OK, "sgx_enclave")
	checks[1].expect(t, Problem, "not installed")

	d.Told = report("confcom verifier serve", nil, daemon.ConditionState{Name: "policy", Met: true, Reason: "reload failed"})
	d.examine(t, "helper").expect(t, Warning, "is ready, but policy: reload failed")
}

// Each place has its own checks.
func TestPlaces(t *testing.T) {
	const all = "limit processor driver devices group noexec libraries enclaves providers configuration network clock environment helper socket quote"
	machine := nodetest.Tree{"dev/sgx_enclave": nodetest.Device}
	inProcess := nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": nodetest.Device, "usr/lib/libsgx_dcap_ql.so.1": ""}
	noLibrary := nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": nodetest.Device}
	for _, c := range []struct {
		name  string
		place Place
		told  *daemon.State
		tree  nodetest.Tree
		want  string
	}{
		{"a machine", Node, nil, machine, strings.Replace(strings.Replace(all, "limit ", "", 1), "helper ", "", 1)},
		{"the helper's pod", Helper, report(helperName, map[string]string{"platform": "dcap"}), machine, strings.Replace(all, "limit ", "", 1)},
		{"that of a simulated platform", Helper, report(helperName, map[string]string{"platform": "simulated"}), machine, "helper socket quote"},
		{"that of an upstream daemon", Helper, report(helperName, map[string]string{"platform": "upstream"}), machine, "helper socket quote"},
		{"the plugin's pod", OtherDaemon, report("sgx-device-plugin", nil), machine, "processor driver devices helper"},
		{"an application's pod", Application, nil, machine, "limit processor devices noexec environment socket quote"},
		{"one with the provision device", Application, nil, noLibrary, "limit processor devices noexec environment socket quote"},
		{"one that can make quotes itself", Application, nil, inProcess, strings.NewReplacer("driver ", "", "group ", "", "helper ", "").Replace(all)},
	} {
		d := patient(t, c.tree)
		d.Place, d.Told = c.place, c.told
		var relevant []string
		for _, name := range Names() {
			if d.irrelevant(name) == "" {
				relevant = append(relevant, name)
			}
		}
		if got := strings.Join(relevant, " "); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

// In an application's pod, the developer is told about the limit, and nothing steers to
// the provision device.
func TestApplication(t *testing.T) {
	d := patient(t, nodetest.Tree{"dev/x": "", "proc/self/mountinfo": "1 1 0:1 / / rw - overlay o rw\n"})
	d.Place = Application
	checks := d.Examine(t.Context())
	checks[0].expect(t, Problem, "this container has no EPC limit")
	for _, c := range checks {
		if strings.Contains(c.Seen+c.Remedy, "provision") {
			t.Errorf("%+v mentions the provision device", c)
		}
	}
	d.examine(t, "devices").expect(t, Problem, "see the check limit")
	d.examine(t, "environment").expect(t, OK, "not set")

	const mountinfo = "1 1 0:1 / / rw - overlay o rw\n2 1 0:2 /run/aesmd /run/aesmd ro - tmpfs t rw\n"
	tree := nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "proc/self/mountinfo": mountinfo, "run/aesmd/x": ""}
	d = patient(t, tree)
	d.Place, d.Socket = Application, "/run/aesmd/aesm.socket"
	d.examine(t, "limit").expect(t, OK, "/dev/sgx_enclave and /run/aesmd")
	d.examine(t, "devices").expect(t, OK, "the provision device is not needed")
	nodetest.Put(t, filepath.Join(d.Machine.Sysroot, "usr/lib/libsgx_dcap_ql.so.1"), "")
	d.examine(t, "environment").expect(t, Warning, "SGX_AESM_ADDR=1")
	t.Setenv("SGX_AESM_ADDR", "1")
	d.examine(t, "environment").expect(t, OK, "is set")

	// A hostPath volume is not an EPC limit.
	byHand := patient(t, nodetest.Tree{"proc/self/mountinfo": mountinfo, "run/aesmd/x": "", "sys/devices/system/node/node0/x86/sgx_total_bytes": "1073741824\n"})
	byHand.Place, byHand.Socket = Application, "/run/aesmd/aesm.socket"
	byHand.examine(t, "limit").expect(t, Problem, "but not by an EPC limit")

	d.Place = Helper
	d.examine(t, "environment").expect(t, Problem, "unset it")
	d.Place = Application

	delete(tree, "proc/self/mountinfo")
	d = patient(t, tree)
	d.Place, d.Socket = Application, "/run/aesmd/aesm.socket"
	d.examine(t, "limit").expect(t, Warning, "is not mounted")
	if !slices.ContainsFunc(d.Examine(t.Context()), func(c Check) bool { return c.Name == "driver" && c.Verdict == Skipped }) {
		t.Error("the driver is the node's")
	}
}

// On hardware only an enclave gets a quote, so that an application without a device gets
// none, although the quote helper answers.
func TestApplicationWithoutEnclave(t *testing.T) {
	const mountinfo = "1 1 0:1 / / rw - overlay o rw\n2 1 0:2 /run/aesmd /run/aesmd ro - tmpfs t rw\n"
	byHand := nodetest.Tree{"proc/self/mountinfo": mountinfo, "run/aesmd/x": "", "sys/devices/system/node/node0/x86/sgx_total_bytes": "1073741824\n"}
	directory := maps.Clone(byHand)
	directory["dev/sgx_enclave/x"], directory["dev/sgx_provision/x"] = "", ""
	dangling := maps.Clone(byHand)
	dangling["dev/sgx_enclave"] = "-> gone"
	for _, c := range []struct {
		name  string
		tree  nodetest.Tree
		place Place
		want  Verdict
		text  string
	}{
		{"no device", byHand, Application, Problem, "does not exist add an EPC limit"},
		{"a directory", directory, Application, Problem, "is a directory, not a device remove the volume"},
		{"a link that leads nowhere", dangling, Application, Problem, "is a link to gone"},
		{"a machine", byHand, Node, Warning, "does not exist"},
	} {
		d := patient(t, c.tree)
		d.Place = c.place
		d.serve(t, func(h aesm.Handler) aesm.Handler { return genuine{h, aesm.CodeInvalidReport} })
		checks := d.Examine(t.Context())
		d.Socket = "/run/aesmd/aesm.socket"
		for _, check := range checks {
			switch check.Name {
			case devicesCheck:
				check.expect(t, c.want, c.text)
			case limitCheck:
				if c.place == Application {
					check.expect(t, Problem, "has no EPC limit")
				}
			default:
				if check.Verdict == Problem {
					t.Errorf("%s: %+v", c.name, check)
				}
			}
			if c.place == Application && strings.Contains(check.Remedy, "provision") {
				t.Errorf("%s: %+v steers to the provision device", c.name, check)
			}
		}
		if c.place == Application {
			d.examine(t, limitCheck).expect(t, Problem, "but not by an EPC limit")
		}
	}
}

// unset removes an environment variable until the test ends.
func unset(t *testing.T, name string) {
	t.Helper()
	t.Setenv(name, "") // which restores it
	if err := os.Unsetenv(name); err != nil {
		t.Fatal(err)
	}
}
