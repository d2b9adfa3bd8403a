package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node/nodetest"
)

const machines = "../../internal/node/testdata/machines"

// machine makes a directory tree that looks like one of the machines that
// internal/node is tested with.
func machine(t *testing.T, name string) (root string) {
	t.Helper()
	tree, _ := nodetest.Read(t, filepath.Join(machines, name+".txtar"))
	return tree.Make(t)
}

func TestNode(t *testing.T) {
	for _, c := range []struct {
		name, machine string // no machine: the arguments say one
		args          []string
		exit          int
		want          string // with ROOT for the directory of the machine
	}{
		{"two sockets", "two-sockets", nil, 0, `
processor         SGX1, SGX2, FLC
EPC               131040 MiB (128.0 GiB)
  NUMA node 0     65516 MiB (64.0 GiB)
  NUMA node 1     65524 MiB (64.0 GiB)
driver            of Linux
enclave device    /dev/sgx_enclave -> /dev/null
provision device  /dev/sgx_provision -> /dev/null

offer             131040 MiB, in the status of the node
  resource        kubernetes.azure.com/sgx_epc_mem_in_MiB

ready
`},
		{"two sockets, with a policy", "two-sockets", []string{"--advertise=devices", "--reserve-epc=40Mi", "--epc-resource=example.com/epc"}, 0, `
processor         SGX1, SGX2, FLC
EPC               131040 MiB (128.0 GiB)
  NUMA node 0     65516 MiB (64.0 GiB)
  NUMA node 1     65524 MiB (64.0 GiB)
driver            of Linux
enclave device    /dev/sgx_enclave -> /dev/null
provision device  /dev/sgx_provision -> /dev/null

offer             8192 MiB, as devices of the kubelet
  reserved        40 MiB
  withheld        122808 MiB: with more than 8192 devices, kubelets since 1.36
                  block for a long time when they start; mode node, which needs
                  Kubernetes 1.36, can advertise all EPC
  resource        example.com/epc

ready
`},
		{"a laptop", "laptop", nil, 0, `
processor         SGX1
EPC               93.5 MiB, NUMA node unknown
driver            isgx, Intel's module for processors without FLC
enclave device    /dev/isgx -> /dev/null
provision device  none

offer             93 MiB, as devices of the kubelet
  resource        kubernetes.azure.com/sgx_epc_mem_in_MiB

warning           Intel's driver isgx only runs enclaves that Intel's launch
                  enclave permits, and DCAP quotes need Flexible Launch Control
ready
`},
		{"no SGX", "no-sgx", nil, 1, `
processor         no SGX
EPC               none
driver            none
enclave device    none
provision device  none

offer             nothing

NOT READY         the processor has no SGX, or the hypervisor hides it from this
                  virtual machine
what to do        use a machine with SGX, such as an Azure DCsv3 or a Xeon of
                  the third generation or later, or simulate EPC
`},
		{"simulated", "", []string{"--simulate-epc=64Mi", "--simulate-device=/dev/null"}, 0, `
SIMULATED         this machine was not looked at: what follows is pretended

EPC               64 MiB, NUMA node 0, SIMULATED
driver            of Linux, SIMULATED
enclave device    /dev/sgx_enclave -> /dev/null, SIMULATED
provision device  /dev/sgx_provision -> /dev/null, SIMULATED

offer             64 MiB, as devices of the kubelet
  resource        kubernetes.azure.com/sgx_epc_mem_in_MiB

ready, SIMULATED  pods are scheduled as if there were SGX, but can make no
                  enclave
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"node"}, c.args...)
			if c.machine != "" {
				args = append(args, "--sysroot", machine(t, c.machine))
			}
			exit, out, errs := confcom(t, nil, args...)
			if exit != c.exit || errs != "" {
				t.Errorf("exit %d: %s", exit, errs)
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), out); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// On every machine the exit code, the text and the JSON say the same, and the
// text fits a terminal.
func TestNodeVerdicts(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(machines, "*.txtar"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no machines: %v", err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(filepath.Base(archive), ".txtar")
		t.Run(name, func(t *testing.T) {
			root := machine(t, name)
			exit, text, errs := confcom(t, nil, "node", "--sysroot", root)
			exitJSON, out, errsJSON := confcom(t, nil, "node", "--sysroot", root, "-o", "json")
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
			ready, said := exit == 0, strings.HasSuffix(text, "\nready\n")
			if ready != said || ready != (exitJSON == 0) || ready != report.Verdict.Ready || ready != (report.Verdict.Problem == "") || ready != (report.Verdict.Advice == "") {
				t.Errorf("exit %d and %d\n%s%s", exit, exitJSON, text, out)
			}
			if !ready && (exit != 1 || exitJSON != 1 || !strings.Contains(text, "NOT READY")) {
				t.Errorf("exit %d and %d\n%s", exit, exitJSON, text)
			}
			if ready != (report.Advertised.MiB > 0) || report.Advertised.MiB != 0 && report.Advertised.MiB != report.EPC>>20 {
				t.Errorf("%d of %d bytes are offered", report.Advertised.MiB, report.EPC)
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
func TestNodeJSON(t *testing.T) {
	_, out, _ := confcom(t, nil, "node", "-o", "json", "--sysroot", machine(t, "laptop"), "--advertise=devices", "--max-devices=50")
	var report map[string]any
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	wantKeys := []string{"advertised", "driver", "enclave", "epcBytes", "findings", "processor", "sections", "simulated", "verdict", "warnings"}
	if diff := cmp.Diff(wantKeys, slices.Sorted(maps.Keys(report))); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	delete(report, "findings") // words
	delete(report, "warnings")
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"processor": {"sgx": true, "sgx1": true, "sgx2": false, "flc": false, "epcBytes": [98041856]},
		"sections": [{"numaNode": -1, "bytes": 98041856}],
		"driver": "isgx",
		"enclave": {"path": "/dev/isgx", "node": "/dev/null"},
		"simulated": false,
		"epcBytes": 98041856,
		"advertised": {"mode": "devices", "mib": 50, "reservedMiB": 0, "withheldMiB": 43, "why": "at most 50 devices are configured; mode node, which needs Kubernetes 1.36, can advertise all EPC"},
		"verdict": {"ready": true}
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
}

func TestNodeBadInput(t *testing.T) {
	broken := nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "many\n"}.Make(t)
	for _, c := range []struct {
		args []string
		want string // begins so
	}{
		{[]string{"--simulate-epc=64MB5"}, "--simulate-epc=64MB5: not a size such as 64Mi or 1Gi\n"},
		{[]string{"--reserve-epc", "5"}, "--reserve-epc=5: not a whole number of MiB"},
		{[]string{"--advertise=nod"}, "--advertise=nod: not one of auto, devices, node\n"},
		{[]string{"--max-devices=-1"}, "--max-devices=-1: not a number of devices\n"},
		{[]string{"--kubelet-version=newest"}, "--kubelet-version=newest: not a version such as 1.37"},
		{[]string{"--epc-resource=epc"}, "--epc-resource=epc: not the name of an extended resource"},
		{[]string{"-o", "xml"}, "--output=xml: neither text nor json\n"},
		{[]string{"--simulate-device=/dev/null"}, "simulated device /dev/null: "},
		{[]string{"--simulate-epc=1Gi", "--simulate-device=/dev/absent"}, "simulated device /dev/absent: "},
		{[]string{"--sysroot="}, "--sysroot: no directory is given\n"},
		{[]string{"--sysroot", filepath.Join(broken, "absent")}, "sysroot " + broken + "/absent: "},
		{[]string{"--sysroot", broken}, "read EPC of NUMA node 0: "},
		{[]string{"--nonsense"}, "unknown flag: --nonsense\n"},
		{[]string{"nonsense"}, "unknown command \"nonsense\""},
	} {
		exit, out, errs := confcom(t, nil, append([]string{"node"}, c.args...)...)
		if exit != 2 || !strings.HasPrefix(errs, "confcom: "+c.want) || out != "" {
			t.Errorf("%q: exit %d, want the error %q\n%s%s", c.args, exit, c.want, out, errs)
		}
	}
}
