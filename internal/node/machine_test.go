package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/node/nodetest"
)

func TestDiscoverErrors(t *testing.T) {
	const (
		epc = "sys/devices/system/node/node3/x86/sgx_total_bytes"
		sgx = "   0x00000007 0x00: eax=0x00000000 ebx=0x00000004 ecx=0x40000000 edx=0x00000000\n"
	)
	tests := []struct {
		name string
		tree nodetest.Tree
		want string // begins so, with ROOT for the sysroot
	}{
		{"EPC is no number", nodetest.Tree{epc: "many\n"}, "EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC is nothing", nodetest.Tree{epc: "\n"}, "EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC is negative", nodetest.Tree{epc: "-1\n"}, "EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC is beyond measure", nodetest.Tree{epc: "9223372036854775808\n"}, "EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC cannot be read", nodetest.Tree{epc + "/file": ""}, "read the EPC of NUMA node 3: read ROOT/" + epc + ": is a directory"},
		{"NUMA nodes cannot be read", nodetest.Tree{"sys/devices/system/node": ""}, "read the NUMA nodes: "},
		{"links in a circle", nodetest.Tree{"dev/sgx_enclave": "-> sgx_enclave"}, "look for the SGX device: "},
		{"links in a circle of two", nodetest.Tree{"dev/sgx_enclave": "-> sgx/enclave", "dev/sgx/enclave": "-> ../sgx_enclave"}, "look for the SGX device: "},
		{"links in a circle for provision", nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": "-> sgx_provision"}, "look for the SGX device: "},
		{"CPUID cannot be read", nodetest.Tree{"cpuid/file": ""}, "read the dump of CPUID: read ROOT/cpuid: is a directory"},
		{"CPUID in words", nodetest.Tree{"cpuid": "CPU:\n   SGX: Software Guard Extensions supported = true\n"}, "ROOT/cpuid: line 2 is not a leaf of CPUID: it should be what 'cpuid -1 -r' prints"},
		{"CPUID is cut off", nodetest.Tree{"cpuid": "CPU:\n" + sgx + sgx[:40]}, "ROOT/cpuid: line 3 is not a leaf of CPUID: "},
		{"CPUID has more than 32 bits", nodetest.Tree{"cpuid": strings.Replace(sgx, "ebx=0x00000004", "ebx=0x100000004", 1)}, "ROOT/cpuid: line 1 is not a leaf of CPUID: "},
		{"CPUID has a long line", nodetest.Tree{"cpuid": strings.Repeat("0", 1<<20)}, "ROOT/cpuid: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := test.tree.Make(t)
			inv, err := Machine{Sysroot: root}.Discover()
			if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), root, "ROOT"), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if diff := cmp.Diff(Inventory{}, inv); diff != "" {
				t.Errorf("an inventory beside the error: %s", diff)
			}
		})
	}
}

func TestSysroot(t *testing.T) {
	tree := nodetest.Tree{
		"sys/devices/system/node/node0/x86/sgx_total_bytes": "8589934592\n",
		"dev/sgx_enclave": nodetest.Device,
		"file":            "",
	}
	root := tree.Make(t)
	t.Chdir(root)
	nodetest.Put(t, "link", "-> "+root)
	for _, sysroot := range []string{root, root + "/", root + "/.", ".", "dev/..", "link", "link/"} {
		inv, err := Machine{Sysroot: sysroot}.Discover()
		if err != nil || !inv.Usable() || inv.EPC() != 8192*MiB {
			t.Errorf("--sysroot=%s: %v, %v", sysroot, inv, err)
		}
	}
	for sysroot, want := range map[string]string{
		"absent": "--sysroot=absent: stat " + root + "/absent: no such file or directory",
		"file":   "--sysroot=file: not a directory",
	} {
		if _, err := (Machine{Sysroot: sysroot}).Discover(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// The machine that runs the tests may have SGX or not; to look must be safe.
func TestThisMachine(t *testing.T) {
	inv, err := Machine{Sysroot: "/"}.Discover()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(inv, inv.Verdict())
	if inv.Simulated || inv.Processor == nil {
		t.Errorf("%+v", inv)
	}
	unnamed, err := Machine{}.Discover()
	if diff := cmp.Diff(inv, unnamed); diff != "" || err != nil {
		t.Errorf("without a sysroot: %v %s", err, diff)
	}
}

// Containers are given devices by their own names, not by those of links.
func TestDeviceNodes(t *testing.T) {
	root := nodetest.Tree{
		"dev/sgx_enclave": "-> sgx/enclave",
		"dev/sgx/file":    "",
	}.Make(t)
	const null = 1<<8 | 3
	if err := syscall.Mknod(filepath.Join(root, "dev/sgx/enclave"), syscall.S_IFCHR|0o600, null); errors.Is(err, os.ErrPermission) {
		t.Skip("to make a device takes privileges: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	nodetest.Put(t, link, "-> "+root)
	for _, sysroot := range []string{root, link} {
		inv, err := Machine{Sysroot: sysroot}.Discover()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&Device{Path: "/dev/sgx_enclave", Node: "/dev/sgx/enclave"}, inv.Enclave); diff != "" || inv.Driver != DriverDCAP {
			t.Errorf("%s: driver %s %s", sysroot, inv.Driver, diff)
		}
	}
}

func TestSimulated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	nodetest.Put(t, file, "")
	link := filepath.Join(t.TempDir(), "link")
	nodetest.Put(t, link, nodetest.Device)

	simulated := func(enclave, provision *Device, driver Driver, findings ...string) Inventory {
		return Inventory{
			Sections:  []Section{{NUMANode: 0, Size: 64 * MiB}},
			Simulated: true,
			Enclave:   enclave,
			Provision: provision,
			Driver:    driver,
			Findings:  append([]string{"64Mi of EPC are simulated"}, findings...),
		}
	}
	stand := simulated(&Device{"/dev/sgx_enclave", "/dev/null"}, &Device{"/dev/sgx_provision", "/dev/null"}, DriverInKernel,
		"the SGX devices are simulated by /dev/null, which makes no enclave")
	tests := []struct {
		name    string
		machine Machine
		want    Inventory
		err     string
	}{
		{"without a device", Machine{SimulatedEPC: 64 * MiB}, simulated(nil, nil, ""), ""},
		{"nothing is looked at", Machine{SimulatedEPC: 64 * MiB, Sysroot: "/absent"}, simulated(nil, nil, ""), ""},
		{"with a device", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: "/dev/null"}, stand, ""},
		{"with a link to a device", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: link}, stand, ""},
		{"with a file", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: file}, Inventory{}, "--simulate-device=" + file + ": " + file + " is not a character device (-rw-"},
		{"with a directory", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: "/dev"}, Inventory{}, "--simulate-device=/dev: /dev is a directory, not a character device"},
		{"with what is not there", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: "/dev/absent"}, Inventory{}, "--simulate-device=/dev/absent: lstat /dev/absent: no such file"},
		{"a device without EPC", Machine{SimulatedDevice: "/dev/null"}, Inventory{}, "--simulate-device=/dev/null: it stands in for SGX devices only with --simulate-epc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.machine.Discover()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			switch {
			case test.err != "":
				if err == nil || !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("error %v, want %s", err, test.err)
				}
			case err != nil:
				t.Error(err)
			case !got.Usable() || !got.Verdict().Ready || got.Source() != "SIMULATED" || got.EPC() != 64*MiB || got.Processor != nil:
				t.Errorf("usable %t, verdict %v, %v", got.Usable(), got.Verdict(), got)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	var m Machine
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	m.AddFlags(flags)
	if diff := cmp.Diff(Machine{Sysroot: "/"}, m); diff != "" {
		t.Errorf("by default: %s", diff)
	}
	if err := flags.Parse([]string{"--sysroot=/host", "--simulate-epc=1Gi", "--simulate-device=/dev/null"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Machine{Sysroot: "/host", SimulatedEPC: 1024 * MiB, SimulatedDevice: "/dev/null"}, m); diff != "" {
		t.Error(diff)
	}
}

// seen is what a callback of Watch was told.
type seen struct {
	inv Inventory
	err error
}

// watching is a machine that is watched on fake time.
type watching struct {
	*testing.T
	root string
	told chan seen
}

const interval = time.Minute

// watch runs a test on a machine with 64 MiB of EPC and a device, while Watch
// watches it. The first call has been taken from the channel.
func watch(t *testing.T, changed func(Inventory, error) bool, test func(stop func(), w watching)) {
	t.Helper()
	tree := nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "67108864\n", "dev/sgx_enclave": nodetest.Device}
	synctest.Test(t, func(t *testing.T) {
		w := watching{T: t, root: tree.Make(t), told: make(chan seen, 10)}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Machine{Sysroot: w.root}.Watch(ctx, interval, func(inv Inventory, err error) bool {
				w.told <- seen{inv, err}
				return changed == nil || changed(inv, err)
			})
		}()
		synctest.Wait()
		if first := w.next(); first.err != nil || first.inv.EPC() != 64*MiB || !first.inv.Usable() {
			t.Errorf("at first: %v", first)
		}
		test(stop, w)
		stop()
		<-done
	})
}

// next waits for a look at the machine, and is what the callback was told then.
func (w watching) next() seen {
	w.Helper()
	select {
	case s := <-w.told:
		return s
	default:
		w.Fatal("no call")
		return seen{}
	}
}

// look lets the machine be looked at once more.
func (w watching) look() {
	time.Sleep(interval)
	synctest.Wait()
}

// same requires that a look finds nothing new.
func (w watching) same() {
	w.Helper()
	w.look()
	select {
	case s := <-w.told:
		w.Errorf("a call without a change: %v", s)
	default:
	}
}

func (w watching) put(path, content string) {
	w.Helper()
	w.remove(path)
	nodetest.Put(w, filepath.Join(w.root, path), content)
}

func (w watching) remove(path string) {
	w.Helper()
	if err := os.RemoveAll(filepath.Join(w.root, path)); err != nil {
		w.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	const epc, device = "sys/devices/system/node/node0/x86/sgx_total_bytes", "dev/sgx_enclave"
	watch(t, nil, func(_ func(), w watching) {
		w.same()

		w.put(epc, "134217728\n")
		w.look()
		if got := w.next(); got.err != nil || got.inv.EPC() != 128*MiB {
			w.Errorf("after the EPC grew: %v", got)
		}
		w.same()

		w.remove(device)
		w.look()
		if got := w.next(); got.err != nil || got.inv.Usable() || got.inv.Enclave != nil {
			w.Errorf("without the device: %v", got)
		}
		w.same()

		w.put(device, nodetest.Device)
		w.look()
		if got := w.next(); got.err != nil || !got.inv.Usable() {
			w.Errorf("with the device again: %v", got)
		}
		w.same()

		w.put(epc, "many\n")
		w.look()
		if got := w.next(); got.err == nil || !strings.Contains(got.err.Error(), "not a number") {
			w.Errorf("with nonsense: %v", got)
		}
		w.same()

		w.put(epc, "more\n")
		w.look()
		if got := w.next(); got.err == nil || !strings.Contains(got.err.Error(), "more") {
			w.Errorf("with other nonsense: %v", got)
		}
		w.same()

		w.put(epc, "134217728\n")
		w.look()
		if got := w.next(); got.err != nil || got.inv.EPC() != 128*MiB || !got.inv.Usable() {
			w.Errorf("after the nonsense: %v", got)
		}
		w.same()
	})
}

func TestWatchEndsWithTheContext(t *testing.T) {
	watch(t, nil, func(stop func(), w watching) {
		stop()
		w.put("dev/sgx_enclave", "a file")
		w.same()
	})
}

// What could not be done about a machine is tried again at each look.
func TestWatchTriesAgain(t *testing.T) {
	failures := 3
	watch(t, func(Inventory, error) bool {
		failures--
		return failures < 0
	}, func(_ func(), w watching) {
		for range 3 {
			w.look()
			w.next()
		}
		w.same()
	})
}
