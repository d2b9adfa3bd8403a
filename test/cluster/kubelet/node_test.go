//go:build kubelet

package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
)

// machine is a directory tree that looks like a machine with one NUMA node.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	return machine{t, t.TempDir()}
}

// file returns a path in the tree, and creates its directory.
func (m machine) file(path string) string {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// setEPC sets the size of the EPC. As in sysfs, the file exists at any moment.
func (m machine) setEPC(mib int64) {
	m.t.Helper()
	m.writeEPC(strconv.FormatInt(mib<<20, 10))
}

func (m machine) writeEPC(text string) {
	m.t.Helper()
	path := m.file("sys/devices/system/node/node0/x86/sgx_total_bytes")
	if err := os.WriteFile(path+".new", []byte(text+"\n"), 0o444); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		m.t.Fatal(err)
	}
}

// addDevice creates a device like that of the SGX driver: /dev/null under another name.
func (m machine) addDevice(path string) {
	m.t.Helper()
	null := int(unix.Mkdev(1, 3))
	if err := unix.Mknod(m.file(path), unix.S_IFCHR|0o666, null); err != nil {
		m.t.Fatalf("create the device %s: %v", path, err)
	}
}

func (m machine) removeDevice(path string) {
	m.t.Helper()
	if err := os.Remove(m.file(path)); err != nil {
		m.t.Fatal(err)
	}
}

// TestMachineChanges checks that the node's count follows the machine, within about a
// second, the plugin's poll interval, and without another registration.
func TestMachineChanges(t *testing.T) {
	const (
		device = "dev/sgx_enclave"
		mib    = 64
	)
	vanishes := step{"the device vanishes", func(_ *kubelet, m machine) { m.removeDevice(device) }, 0, msgNoSGX}
	returns := step{"the device returns", func(_ *kubelet, m machine) { m.addDevice(device) }, mib, ""}
	resized := func(to int64, logs string) step {
		return step{fmt.Sprintf("EPC is resized to %d MiB", to), func(_ *kubelet, m machine) { m.setEPC(to) }, to, logs}
	}
	tests := []struct {
		name  string
		start func(machine)
		steps []step // the first is the start
	}{
		{"device vanishes and returns", func(m machine) {
			m.setEPC(mib)
			m.addDevice(device)
		}, []step{{has: mib}, vanishes, returns, vanishes, returns}},
		{"driver is loaded after the start", func(m machine) {
			m.setEPC(mib)
		}, []step{{logs: msgNoSGX}, returns}},
		{"machine is empty at the start", func(machine) {}, []step{
			{logs: msgNoSGX}, {"EPC appears", func(_ *kubelet, m machine) { m.setEPC(mib) }, 0, msgNoSGX}, returns,
		}},
		{"VM is resized", func(m machine) {
			m.setEPC(mib)
			m.addDevice(device)
		}, []step{{has: mib}, resized(3*mib, ""), resized(mib/2, ""), resized(0, msgNoSGX), resized(mib, "")}},
		{"kubelet restarts while the device is gone", func(m machine) {
			m.setEPC(mib)
			m.addDevice(device)
		}, []step{{has: mib}, vanishes, {"the kubelet restarts", func(k *kubelet, _ machine) { k.restart() }, 0, msgRegistered}, returns}},
		{"a directory replaces the device", func(m machine) {
			m.setEPC(mib)
			m.addDevice(device)
		}, []step{{has: mib}, {"a container runtime creates a directory", func(_ *kubelet, m machine) {
			m.removeDevice(device)
			m.file(device + "/created by a runtime")
		}, 0, msgNoSGX}}},
		{"the machine cannot be read", func(m machine) {
			m.setEPC(mib)
			m.addDevice(device)
		}, []step{
			{has: mib},
			// What is advertised stays.
			{"the size of the EPC is not a number", func(_ *kubelet, m machine) { m.writeEPC("many") }, mib, msgDiscoverFailed},
			resized(2*mib, ""),
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := startKubelet(t)
			m := newMachine(t)
			test.start(m)
			p := startPlugin(t, "--sysroot="+m.root)
			registrations := 1
			for _, step := range test.steps {
				since := time.Now()
				if step.do != nil {
					p.mark()
					step.do(k, m)
				}
				if step.logs != "" {
					p.await(step.logs)
				}
				if step.logs == msgRegistered {
					registrations++
				}
				k.await(epc, all(step.has))
				t.Logf("%s: %d MiB after %v", step.name, step.has, time.Since(since).Round(time.Millisecond))
				// A pod can have all of it, and no more. The device manager ignores a
				// resource that was never registered.
				if _, err := k.admit("more "+step.name, step.has+1, epc); err == nil && len(k.resources()) > 0 {
					t.Errorf("%s: a pod got %d MiB of %d", step.name, step.has+1, step.has)
				}
				if step.has > 0 {
					if _, err := k.admit("all "+step.name, step.has, epc); err != nil {
						t.Errorf("%s: %v", step.name, err)
					}
				}
				k.forget()
			}
			if n := kubeletLog.registrations(epc); n != registrations {
				t.Errorf("%d registrations, want %d", n, registrations)
			}
			p.stop()
		})
	}
}

// step is a change of the machine or the kubelet, the MiB that the node has after it,
// and the message that the plugin logs, if any.
type step struct {
	name string
	do   func(*kubelet, machine)
	has  int64
	logs string
}

// TestOverTheCap checks that a machine whose EPC grows beyond the cap on devices changes
// to mode node, and back when the EPC shrinks.
func TestOverTheCap(t *testing.T) {
	k := startKubelet(t)
	m := newMachine(t)
	m.setEPC(8 << 10)
	m.addDevice("dev/sgx_enclave")
	p := startPlugin(t, "--sysroot="+m.root)
	k.await(epc, all(8<<10))

	m.setEPC(16 << 10)
	k.await(enclave, all(256))
	k.await(epc, all(0))
	if got, err := k.admit("in node mode", 1, enclave); err != nil || !slices.Equal(got.Devices, []kubecontainer.DeviceInfo{enclaveDevice}) {
		t.Errorf("a pod got %+v: %v", got, err)
	}
	p.await(msgWithdrawn, epc)

	m.setEPC(4 << 10)
	k.await(epc, all(4<<10))
	k.await(enclave, all(0))
	if got, err := k.admit("in device mode", 1, epc); err != nil || !slices.Equal(got.Devices, []kubecontainer.DeviceInfo{enclaveDevice}) {
		t.Errorf("a pod got %+v: %v", got, err)
	}
	p.await(msgWithdrawn, enclave)
	p.stop()
}
