package node_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
)

const machines = "../../node/testdata/machines"

// machine makes a directory tree that looks like one of the machines that
// internal/node is tested with.
func machine(t *testing.T, name string) (root string) {
	t.Helper()
	tree, _ := nodetest.Read(t, filepath.Join(machines, name+".txtar"))
	tree["proc/2/comm"], tree["proc/2/maps"] = "kthreadd\n", "" // all processes are visible
	return tree.Make(t)
}

// What other packages say of a machine is shown as they say it: of, in the tests, gets
// the words.
type words func(inv node.Inventory, c epc.Capacity) string

// row returns a row of the page.
func row(name string, of words) words {
	return func(inv node.Inventory, c epc.Capacity) string {
		var b strings.Builder
		output.NewPage(&b).Text(name, of(inv, c))
		return b.String()
	}
}

func TestNode(t *testing.T) {
	withheld := row("  withheld", func(_ node.Inventory, c epc.Capacity) string { return "122808 MiB: " + c.Why })
	warning := row("warning", func(inv node.Inventory, _ epc.Capacity) string { return inv.Warnings[0] })
	problem := row("NOT READY", func(inv node.Inventory, _ epc.Capacity) string { return inv.Verdict().Problem })
	advice := row("what to do", func(inv node.Inventory, _ epc.Capacity) string { return inv.Verdict().Advice })
	for _, c := range []struct {
		name, machine string
		args          []string
		policy        epc.Policy // of the arguments
		exit          int
		want          []any // text, and words of other packages
	}{
		{"two sockets", "two-sockets", nil, epc.Policy{}, 0, []any{`
processor         SGX1, SGX2, FLC
EPC               131040 MiB (128.0 GiB)
  NUMA node 0     65516 MiB (64.0 GiB)
  NUMA node 1     65524 MiB (64.0 GiB)
driver            in-kernel
enclave device    /dev/sgx_enclave -> /dev/null
provision device  /dev/sgx_provision -> /dev/null

advertised        131040 MiB, in the node's status
  resource        kubernetes.azure.com/sgx_epc_mem_in_MiB

enclave memory    no process maps any

ready
`}},
		{"two sockets, with a policy", "two-sockets", []string{"--advertise=devices", "--reserve-epc=40Mi", "--epc-resource=example.com/epc"},
			epc.Policy{Mode: epc.Devices, Reserve: 40 * node.MiB}, 0, []any{`
processor         SGX1, SGX2, FLC
EPC               131040 MiB (128.0 GiB)
  NUMA node 0     65516 MiB (64.0 GiB)
  NUMA node 1     65524 MiB (64.0 GiB)
driver            in-kernel
enclave device    /dev/sgx_enclave -> /dev/null
provision device  /dev/sgx_provision -> /dev/null

advertised        8192 MiB, as devices of the kubelet
  reserved        40 MiB
`, withheld, `  resource        example.com/epc

enclave memory    no process maps any

ready
`}},
		{"a laptop", "laptop", nil, epc.Policy{}, 0, []any{`
processor         SGX1
EPC               93.5 MiB, NUMA node unknown
driver            isgx, Intel's module for processors without FLC
enclave device    /dev/isgx -> /dev/null
provision device  none

advertised        93 MiB, as devices of the kubelet
  resource        kubernetes.azure.com/sgx_epc_mem_in_MiB

enclave memory    no process maps any

`, warning, `ready
`}},
		{"no SGX", "no-sgx", nil, epc.Policy{}, 1, []any{`
processor         no SGX
EPC               none
driver            none
enclave device    none
provision device  none

advertised        nothing

`, problem, advice}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := machine(t, c.machine)
			inv, err := node.Machine{Sysroot: root}.Discover()
			if err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for _, part := range c.want {
				switch part := part.(type) {
				case string:
					want.WriteString(strings.TrimPrefix(part, "\n"))
				case words:
					want.WriteString(part(inv, c.policy.For(inv)))
				}
			}
			exit, out, errs := clitest.Run(t, nil, append([]string{"node", "--sysroot", root}, c.args...)...)
			if exit != c.exit || errs != "" {
				t.Errorf("exit %d: %s", exit, errs)
			}
			if diff := cmp.Diff(want.String(), out); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSimulated(t *testing.T) {
	want := `SIMULATED         this machine was not examined; everything below is simulated

EPC               64 MiB, NUMA node 0, SIMULATED
driver            in-kernel, SIMULATED
enclave device    /dev/sgx_enclave -> /dev/null, SIMULATED
provision device  /dev/sgx_provision -> /dev/null, SIMULATED

advertised        64 MiB, as devices of the kubelet
  resource        kubernetes.azure.com/sgx_epc_mem_in_MiB

ready, SIMULATED  pods are scheduled as on a machine with SGX, but cannot create
                  enclaves
`
	if diff := cmp.Diff(want, clitest.MustRun(t, "node", "--simulate-epc=64Mi", "--simulate-device=/dev/null", "--state-dir", t.TempDir())); diff != "" {
		t.Error(diff)
	}
}

// What the device plugin of the node has written is shown.
func TestInForce(t *testing.T) {
	root := machine(t, "laptop")
	dir := filepath.Join(root, epc.DefaultStateDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a := epc.Advertisement{
		Resource: epc.DefaultResource, DeviceResource: "sgx.intel.com/enclave", State: epc.StateDevices, Wanted: epc.Node, MiB: 93,
		Message: "1 pod holds devices", Pods: 1, PodNames: []string{"default/app"},
	}
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	want := `
now in force      93 MiB, state devices
  because         1 pod holds devices
  pod             default/app
`
	if out := clitest.MustRun(t, "node", "--sysroot", root); !strings.Contains(out, want) {
		t.Errorf("%s\nwant %s", out, want)
	}
	var report struct{ InForce epc.Advertisement }
	if err := json.Unmarshal([]byte(clitest.MustRun(t, "node", "-o", "json", "--sysroot", root)), &report); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, report.InForce); diff != "" {
		t.Error(diff)
	}
	// What is not understood, such as the file of a newer plugin, says nothing of the machine.
	for text, want := range map[string]string{
		"{}": "the name of a resource is missing",
		`{"resource": "example.com/epc", "more": 1}`: "unknown member",
	} {
		if err := os.WriteFile(filepath.Join(dir, epc.AdvertisementFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out := strings.Join(strings.Fields(clitest.MustRun(t, "node", "--sysroot", root)), " ")
		for _, want := range []string{want, "if the plugin is newer, use the confcom in its image", "ready"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: want %q: %s", text, want, out)
			}
		}
	}
}

// On every machine the exit code, the text and the JSON agree, and the text fits a
// terminal.
func TestVerdicts(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(machines, "*.txtar"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no machines: %v", err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(filepath.Base(archive), ".txtar")
		t.Run(name, func(t *testing.T) {
			root := machine(t, name)
			exit, text, errs := clitest.Run(t, nil, "node", "--sysroot", root)
			exitJSON, out, errsJSON := clitest.Run(t, nil, "node", "--sysroot", root, "-o", "json")
			var report struct {
				EPC        uint64 `json:"epcBytes"`
				Advertised struct{ MiB uint64 }
				Verdict    struct {
					Ready           bool
					Problem, Advice string
				}
			}
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatal(err)
			}
			ready, shown := exit == 0, strings.HasSuffix(text, "\nready\n")
			if ready != shown || ready != (exitJSON == 0) || ready != report.Verdict.Ready || ready != (report.Verdict.Problem == "") || ready != (report.Verdict.Advice == "") {
				t.Errorf("exit %d and %d\n%s%s", exit, exitJSON, text, out)
			}
			if !ready && (exit != 1 || exitJSON != 1 || !strings.Contains(text, "NOT READY")) {
				t.Errorf("exit %d and %d\n%s", exit, exitJSON, text)
			}
			if ready != (report.Advertised.MiB > 0) || report.Advertised.MiB != 0 && report.Advertised.MiB != report.EPC>>20 {
				t.Errorf("%d of %d bytes are advertised", report.Advertised.MiB, report.EPC)
			}
			if errs != "" || errsJSON != "" {
				t.Errorf("%s%s", errs, errsJSON)
			}
			for line := range strings.Lines(strings.ReplaceAll(text, root, "")) {
				if len(line) > 80+len("\n") {
					t.Errorf("%d columns: %s", len(line), line)
				}
			}
		})
	}
}

// Programs read these keys.
func TestJSON(t *testing.T) {
	root := machine(t, "laptop")
	out := clitest.MustRun(t, "node", "-o", "json", "--sysroot", root, "--advertise=devices", "--max-devices=50")
	var report map[string]any
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	wantKeys := []string{"advertised", "driver", "enclave", "enclaveMemory", "epcBytes", "findings", "processor", "sections", "simulated", "verdict", "warnings"}
	if diff := cmp.Diff(wantKeys, slices.Sorted(maps.Keys(report))); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	delete(report, "findings") // words
	delete(report, "warnings")
	inv, err := node.Machine{Sysroot: root}.Discover()
	if err != nil {
		t.Fatal(err)
	}
	policy := epc.Policy{Mode: epc.Devices, MaxDevices: 50}
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"processor": {"sgx": true, "sgx1": true, "sgx2": false, "flc": false, "epcBytes": [98041856]},
		"sections": [{"numaNode": -1, "bytes": 98041856}],
		"driver": "isgx",
		"enclave": {"path": "/dev/isgx", "node": "/dev/null"},
		"enclaveMemory": {"mappedBytes": 0, "processes": []},
		"simulated": false,
		"epcBytes": 98041856,
		"advertised": {"mode": "devices", "mib": 50, "reservedMiB": 0, "withheldMiB": 43},
		"verdict": {"ready": true}
	}`), &want); err != nil {
		t.Fatal(err)
	}
	want["advertised"].(map[string]any)["why"] = policy.For(inv).Why
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
}

func TestBadInput(t *testing.T) {
	broken := nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "many\n"}.Make(t)
	for _, c := range []struct {
		args []string
		want string // begins so
	}{
		{[]string{"--simulate-epc=64MB5"}, "--simulate-epc=64MB5: "},
		{[]string{"--reserve-epc", "5"}, "--reserve-epc=5: "},
		{[]string{"--advertise=nod"}, "--advertise=nod: "},
		{[]string{"--max-devices=-1"}, "--max-devices=-1: "},
		{[]string{"--kubelet-version=newest"}, "--kubelet-version=newest: "},
		{[]string{"--epc-resource=epc"}, "--epc-resource=epc: "},
		{[]string{"-o", "xml"}, "--output=xml: not one of text, json\n"},
		{[]string{"--simulate-device=/dev/null"}, "simulated device /dev/null: "},
		{[]string{"--simulate-epc=1Gi", "--simulate-device=/dev/absent"}, "simulated device /dev/absent: "},
		{[]string{"--sysroot="}, "--sysroot: missing directory\nTry 'confcom node --help'.\n"},
		{[]string{"--sysroot", filepath.Join(broken, "absent")}, "sysroot " + broken + "/absent: "},
		{[]string{"--sysroot", broken}, "read EPC of NUMA node 0: "},
		{[]string{"--nonsense"}, "unknown flag: --nonsense\nTry 'confcom node --help'.\n"},
		{[]string{"nonsense"}, "unexpected argument \"nonsense\""},
	} {
		exit, out, errs := clitest.Run(t, nil, append([]string{"node"}, c.args...)...)
		if exit != 2 || !strings.HasPrefix(errs, "confcom node: "+c.want) || out != "" {
			t.Errorf("%q: exit %d, want the error %q\n%s%s", c.args, exit, c.want, out, errs)
		}
	}
}

// A machine that this user may not examine is not said to lack anything.
func TestClosed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: needs root, to become another user")
	}
	root := machine(t, "two-sockets")
	if err := os.Chmod(root, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("as another user", func(t *testing.T) {
		runtime.LockOSThread() // the thread ends with this goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		exit, out, errs := clitest.Run(t, nil, "node", "--sysroot", root)
		if exit != 2 || out != "" || !strings.Contains(errs, ": permission denied: run this as root\n") {
			t.Errorf("exit %d\n%s%s", exit, out, errs)
		}
	})
}

// Which pods and other processes map enclave memory is shown, and what was not seen.
func TestEnclaveMemory(t *testing.T) {
	const (
		pod     = "2c48913c-b29f-11e7-9350-020968147796"
		other   = "5ecc73f0-4ae9-4bdb-a7d5-214f3ba84b69"
		id      = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961"
		enclave = "7f0000000000-7f0001000000 rw-s 00000000 00:05 84 /dev/sgx_enclave\n"
	)
	tree, _ := nodetest.Read(t, filepath.Join(machines, "two-sockets.txtar"))
	tree["proc/2/comm"], tree["proc/2/maps"] = "kthreadd\n", ""
	for pid, p := range map[string][3]string{
		"310":  {"aesm_service", "/system.slice/aesmd.service", "7f0000000000-7f0000180000 rw-s 00000000 00:05 84 /dev/sgx_enclave\n"},
		"4711": {"app", "/kubepods/burstable/pod" + pod + "/" + id, enclave + enclave},
		"4712": {"\x1b[31ma name", "/kubepods/burstable/pod" + pod + "/" + id, enclave},
		"4713": {"app", "/kubepods/pod" + other + "/" + id, enclave},
		"4714": {"app", "/docker/" + id, enclave},
		"4715": {"bash", "/user.slice/user-0.slice/session-1.scope", "7f0000000000-7f0001000000 r-xp 00000000 00:05 84 /bin/bash\n"},
	} {
		tree["proc/"+pid+"/comm"], tree["proc/"+pid+"/cgroup"], tree["proc/"+pid+"/maps"] = p[0]+"\n", "0::"+p[1]+"\n", p[2]
	}
	tree["var/log/pods/team-a_job_"+pod+"/app/0.log"] = ""
	root := tree.Make(t)
	want := `
enclave memory    81.5 MiB mapped
  mapped          48 MiB by pod team-a/job: "app" (4711), "\x1b[31ma name"
                  (4712)
  mapped          16 MiB by pod 5ecc73f0-4ae9-4bdb-a7d5-214f3ba84b69: "app"
                  (4713)
  mapped          16 MiB by container 9bca8d63d5fa: "app" (4714)
  mapped          1.5 MiB by /system.slice/aesmd.service: "aesm_service" (310)

ready
`
	if out := clitest.MustRun(t, "node", "--sysroot", root); !strings.HasSuffix(out, want) {
		t.Error(cmp.Diff(want, out))
	}
	var report struct {
		EnclaveMemory struct {
			MappedBytes uint64
			Incomplete  string
			Processes   []struct {
				PID                                                 int
				Command, PodUID, Namespace, Name, Container, Cgroup string
				MappedBytes                                         uint64
			}
		}
	}
	read := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(clitest.MustRun(t, "node", "-o", "json", "--sysroot", root)), &report); err != nil {
			t.Fatal(err)
		}
	}
	read()
	first, last := report.EnclaveMemory.Processes[0], report.EnclaveMemory.Processes[4]
	if report.EnclaveMemory.MappedBytes != 81<<20+512<<10 || report.EnclaveMemory.Incomplete != "" ||
		first.PID != 4711 || first.Command != "app" || first.PodUID != pod || first.Namespace != "team-a" || first.Name != "job" || first.Container != id || first.MappedBytes != 32<<20 ||
		last.Cgroup != "/system.slice/aesmd.service" || last.PodUID != "" {
		t.Errorf("%+v", report)
	}
	long := "7f0000000000-7f0001000000 r--s 00000000 00:05 84 " + strings.Repeat("/directory", 10_000) + "\n"
	nodetest.Put(t, filepath.Join(root, "proc/4716/maps"), long)
	read()
	if got := report.EnclaveMemory; !strings.HasPrefix(got.Incomplete, "1 process cannot be examined: ") || !strings.HasSuffix(got.Incomplete, "/proc/4716: its list of mappings has more than 64 MiB, or a line of more than 64 KiB") || len(got.Processes) != 5 {
		t.Errorf("%+v", report)
	}
	if err := os.RemoveAll(filepath.Join(root, "proc/4716")); err != nil {
		t.Fatal(err)
	}
	// In a container, the process of the kernel is not visible.
	if err := os.RemoveAll(filepath.Join(root, "proc/2")); err != nil {
		t.Fatal(err)
	}
	read()
	if !strings.Contains(report.EnclaveMemory.Incomplete, "run this on the node itself") || report.EnclaveMemory.MappedBytes == 0 {
		t.Errorf("%+v", report)
	}
	if out := clitest.MustRun(t, "node", "--sysroot", root); !strings.Contains(out, " MiB mapped\n  incomplete      only the processes of this container") {
		t.Error(out)
	}
	if err := os.RemoveAll(filepath.Join(root, "proc")); err != nil {
		t.Fatal(err)
	}
	if out := clitest.MustRun(t, "node", "--sysroot", root); !strings.Contains(out, "enclave memory    unknown: open") || !strings.HasSuffix(out, "\nready\n") {
		t.Error(out)
	}
}

// What may not be examined is not taken for nothing.
func TestEnclaveMemoryClosed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: needs root, to become another user")
	}
	root := machine(t, "two-sockets")
	nodetest.Put(t, filepath.Join(root, "proc/310/maps"), "")
	if err := os.Chmod(filepath.Join(root, "proc/310/maps"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("as another user", func(t *testing.T) {
		runtime.LockOSThread() // the thread ends with this goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		exit, out, errs := clitest.Run(t, nil, "node", "--sysroot", root)
		// It is still root, without root's access to files.
		if exit != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), "enclave memory unknown: 1 process cannot be examined: it takes CAP_SYS_PTRACE,") {
			t.Errorf("exit %d\n%s%s", exit, out, errs)
		}
	})
}

// What pods may not open is reported where the device is.
func TestAccess(t *testing.T) {
	for _, device := range []string{"/dev/console", "/dev/kmsg", "/dev/loop-control"} {
		info, err := os.Stat(device)
		if err != nil || info.Mode()&os.ModeCharDevice == 0 || info.Mode()&0o006 == 0o006 {
			continue
		}
		tree, _ := nodetest.Read(t, filepath.Join(machines, "two-sockets.txtar"))
		tree["dev/sgx_enclave"] = "-> " + device
		exit, out, errs := clitest.Run(t, nil, "node", "--sysroot="+tree.Make(t))
		for _, want := range []string{"EACCES (permission denied)", "device_ownership_from_security_context = true", "ready"} {
			if exit != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
				t.Errorf("exit %d, want 0 and %q:\n%s%s", exit, want, out, errs)
			}
		}
		return
	}
	t.Skip("NOT RUN: this machine has no device that only some users may open")
}
