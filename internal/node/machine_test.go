package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
		want string // prefix, with ROOT for the sysroot
	}{
		{"EPC is not a number", nodetest.Tree{epc: "many\n"}, "read EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC is empty", nodetest.Tree{epc: "\n"}, "read EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC is negative", nodetest.Tree{epc: "-1\n"}, "read EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC is too large", nodetest.Tree{epc: "9223372036854775808\n"}, "read EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"EPC cannot be read", nodetest.Tree{epc + "/file": ""}, "read EPC of NUMA node 3: read ROOT/" + epc + ": is a directory"},
		{"NUMA nodes cannot be read", nodetest.Tree{"sys/devices/system/node": ""}, "list NUMA nodes: "},
		{"link cycle", nodetest.Tree{"dev/sgx_enclave": "-> sgx_enclave"}, "find SGX device: "},
		{"link cycle of two", nodetest.Tree{"dev/sgx_enclave": "-> sgx/enclave", "dev/sgx/enclave": "-> ../sgx_enclave"}, "find SGX device: "},
		{"link cycle of the provision device", nodetest.Tree{"dev/sgx_enclave": nodetest.Device, "dev/sgx_provision": "-> sgx_provision"}, "find SGX device: "},
		{"CPUID cannot be read", nodetest.Tree{"cpuid/file": ""}, "read CPUID dump: read ROOT/cpuid: is a directory"},
		{"CPUID in words", nodetest.Tree{"cpuid": "CPU:\n   SGX: Software Guard Extensions supported = true\n"}, "parse CPUID dump ROOT/cpuid: line 2 is not a CPUID leaf: create it with 'cpuid -1 -r'"},
		{"CPUID is truncated", nodetest.Tree{"cpuid": "CPU:\n" + sgx + sgx[:40]}, "parse CPUID dump ROOT/cpuid: line 3 is not a CPUID leaf: "},
		{"CPUID has more than 32 bits", nodetest.Tree{"cpuid": strings.Replace(sgx, "ebx=0x00000004", "ebx=0x100000004", 1)}, "parse CPUID dump ROOT/cpuid: line 1 is not a CPUID leaf: "},
		{"CPUID has a long line", nodetest.Tree{"cpuid": strings.Repeat("0", 1<<20)}, "parse CPUID dump ROOT/cpuid: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := test.tree.Make(t)
			inv, err := Machine{Sysroot: root}.Discover()
			if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), root, "ROOT"), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if diff := cmp.Diff(Inventory{}, inv); diff != "" {
				t.Errorf("inventory next to an error: %s", diff)
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
			t.Errorf("sysroot %s: %v, %v", sysroot, inv, err)
		}
	}
	for sysroot, want := range map[string]string{
		"absent": "sysroot absent: stat " + root + "/absent: no such file or directory",
		"file":   "sysroot file: not a directory",
	} {
		if _, err := (Machine{Sysroot: sysroot}).Discover(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
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
			Findings:  append([]string{"64Mi of EPC is simulated"}, findings...),
		}
	}
	withDevice := simulated(&Device{"/dev/sgx_enclave", "/dev/null"}, &Device{"/dev/sgx_provision", "/dev/null"}, DriverInKernel,
		"the SGX devices are simulated by /dev/null, which cannot create enclaves")
	tests := []struct {
		name    string
		machine Machine
		want    Inventory
		err     string
	}{
		{"without a device", Machine{SimulatedEPC: 64 * MiB}, simulated(nil, nil, ""), ""},
		{"the machine is not read", Machine{SimulatedEPC: 64 * MiB, Sysroot: "/absent"}, simulated(nil, nil, ""), ""},
		{"with a device", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: "/dev/null"}, withDevice, ""},
		{"with a link to a device", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: link}, withDevice, ""},
		{"with a file", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: file}, Inventory{}, "simulated device " + file + ": " + file + " is not a character device (-rw-"},
		{"with a directory", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: "/dev"}, Inventory{}, "simulated device /dev: /dev is a directory, not a character device"},
		{"with a missing device", Machine{SimulatedEPC: 64 * MiB, SimulatedDevice: "/dev/absent"}, Inventory{}, "simulated device /dev/absent: lstat /dev/absent: no such file"},
		{"a device without EPC", Machine{SimulatedDevice: "/dev/null"}, Inventory{}, "simulated device /dev/null: it needs simulated EPC"},
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

// result is what Watch passed to its callback.
type result struct {
	inv Inventory
	err error
}

// watching is a machine that is watched in fake time.
type watching struct {
	*testing.T
	root    string
	results chan result
}

const interval = time.Minute

// watch runs a test on a machine with 64 MiB of EPC and a device, while Watch
// watches it. The first result has been taken from the channel.
func watch(t *testing.T, changed func(Inventory, error) bool, test func(stop func(), w watching)) {
	t.Helper()
	tree := nodetest.Tree{"sys/devices/system/node/node0/x86/sgx_total_bytes": "67108864\n", "dev/sgx_enclave": nodetest.Device}
	synctest.Test(t, func(t *testing.T) {
		w := watching{T: t, root: tree.Make(t), results: make(chan result, 10)}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Machine{Sysroot: w.root}.Watch(ctx, interval, func(inv Inventory, err error) bool {
				w.results <- result{inv, err}
				return changed == nil || changed(inv, err)
			})
		}()
		synctest.Wait()
		if first := w.next(); first.err != nil || first.inv.EPC() != 64*MiB || !first.inv.Usable() {
			t.Errorf("first result: %v", first)
		}
		test(stop, w)
		stop()
		<-done
	})
}

// next returns the next result, which must have come already.
func (w watching) next() result {
	w.Helper()
	select {
	case r := <-w.results:
		return r
	default:
		w.Fatal("no call")
		return result{}
	}
}

// poll waits for another discovery.
func (w watching) poll() {
	time.Sleep(interval)
	synctest.Wait()
}

// same requires that another discovery finds no change.
func (w watching) same() {
	w.Helper()
	w.poll()
	select {
	case r := <-w.results:
		w.Errorf("a call without a change: %v", r)
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
		w.poll()
		if got := w.next(); got.err != nil || got.inv.EPC() != 128*MiB {
			w.Errorf("after the EPC grew: %v", got)
		}
		w.same()

		w.remove(device)
		w.poll()
		if got := w.next(); got.err != nil || got.inv.Usable() || got.inv.Enclave != nil {
			w.Errorf("without the device: %v", got)
		}
		w.same()

		w.put(device, nodetest.Device)
		w.poll()
		if got := w.next(); got.err != nil || !got.inv.Usable() {
			w.Errorf("with the device again: %v", got)
		}
		w.same()

		w.put(epc, "many\n")
		w.poll()
		if got := w.next(); got.err == nil || !strings.Contains(got.err.Error(), "not a number") {
			w.Errorf("with garbage: %v", got)
		}
		w.same()

		w.put(epc, "more\n")
		w.poll()
		if got := w.next(); got.err == nil || !strings.Contains(got.err.Error(), "more") {
			w.Errorf("with other garbage: %v", got)
		}
		w.same()

		w.put(epc, "134217728\n")
		w.poll()
		if got := w.next(); got.err != nil || got.inv.EPC() != 128*MiB || !got.inv.Usable() {
			w.Errorf("after the garbage: %v", got)
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

// A result that could not be handled is passed again after each poll.
func TestWatchRetries(t *testing.T) {
	failures := 3
	watch(t, func(Inventory, error) bool {
		failures--
		return failures < 0
	}, func(_ func(), w watching) {
		for range 3 {
			w.poll()
			w.next()
		}
		w.same()
	})
}
