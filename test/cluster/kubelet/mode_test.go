//go:build kubelet

package kubelet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// stateDir is where the plugin writes how EPC is advertised.
type stateDir struct {
	t    *testing.T
	path string
}

// await waits until the plugin has written a state.
func (s stateDir) await(want string, patience time.Duration) {
	s.t.Helper()
	var a struct{ State string }
	for deadline := time.Now().Add(patience); a.State != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("state %q after %s, want %q", a.State, patience, want)
		}
		text, err := os.ReadFile(filepath.Join(s.path, "epc.json"))
		if err != nil {
			continue
		}
		if err := json.Unmarshal(text, &a); err != nil {
			s.t.Fatal(err)
		}
	}
}

// acknowledge does what sgx-node-resource does once no new pod can come: it has a shared lock
// of the file, until the test ends.
func (s stateDir) acknowledge() {
	s.t.Helper()
	file, err := os.Open(filepath.Join(s.path, "epc.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { file.Close() })
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH); err != nil {
		s.t.Fatal(err)
	}
}

// TestDevicesToNode checks that EPC stays devices while a pod holds some, is withdrawn
// when none does, and is the node's once the kubelet has forgotten the devices; whatever
// restarts meanwhile.
func TestDevicesToNode(t *testing.T) {
	k := startKubelet(t)
	state := stateDir{t, t.TempDir()}
	args := func(mode string) []string {
		return []string{simulate(64), "--resources=epc,enclave", "--advertise=" + mode, "--state-dir=" + state.path, "--pod-resources-socket=" + k.servePodResources()}
	}
	admit := func(name string, works bool, resources ...string) {
		t.Helper()
		if _, err := k.admit(name, 1, resources...); (err == nil) != works {
			t.Errorf("%s: %v, want success %t", name, err, works)
		}
	}
	p := startPlugin(t, args("devices")...)
	k.await(epc, all(64))
	k.await(enclave, all(256))
	admit("before", true, epc, enclave)

	// As in a rolling update, the new plugin starts before the old one stops.
	next := startPlugin(t, args("node")...)
	next.await(msgRegistered, epc)
	p.stop()
	p = next
	state.await("devices", patience)
	admit("held", true, epc, enclave)
	k.restart()
	k.await(epc, all(64))
	k.await(enclave, all(256))
	admit("held by a restarted kubelet", true, epc, enclave)
	p.kill()
	p = startPlugin(t, args("node")...)
	k.await(epc, all(64))
	k.await(enclave, all(256))
	admit("held by a restarted plugin", true, epc, enclave)

	// The kubelet's record names these pods until it is written again.
	k.forget()
	state.await("closing", patience)
	admit("bound before", true, epc, enclave)
	state.await("devices", patience)
	k.forget()
	state.await("closing", patience)
	state.acknowledge()
	state.await("releasing", patience)
	k.await(enclave, all(256))
	for deadline := time.Now().Add(patience); k.has(epc).allocatable != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v in state releasing", k.has(epc))
		}
	}
	admit("refused", false, epc, enclave) // this is why no pod may be scheduled here yet
	k.forget()

	p.kill()
	p = startPlugin(t, args("node")...)
	state.await("closing", patience) // derived from the kubelet's record
	state.acknowledge()
	state.await("releasing", patience)
	p.mark()
	k.restart() // which begins the grace period anew
	p.await(msgRegistered, enclave)
	began := time.Now()

	if os.Getenv("CONFCOM_KUBELET_LONG") == "" {
		t.Log("NOT RUN: waiting for the kubelet's grace period; set CONFCOM_KUBELET_LONG=1")
		p.stop()
		return
	}
	for ; len(k.resources()) > 1; time.Sleep(time.Second) { // a kubelet asks for its resources every 10 seconds
		if time.Since(began) > 6*time.Minute {
			t.Fatalf("the kubelet still knows %v", k.resources())
		}
	}
	t.Logf("the kubelet has forgotten the devices after %s", time.Since(began).Round(time.Second))
	state.await("node", patience)
	t.Logf("mode node after %s", time.Since(began).Round(time.Second))
	admit("in mode node", true, epc, enclave)
	p.kill()
	p = startPlugin(t, args("node")...)
	p.await(msgRegistered, enclave)
	state.await("node", patience)
	k.await(enclave, all(256))
	admit("in mode node of a restarted plugin", true, epc, enclave)

	p.kill()
	p = startPlugin(t, args("devices")...)
	p.await(msgRegistered, enclave)
	state.await("node", patience)
	k.forget()
	state.await("devices", patience)
	k.await(epc, all(64))
	admit("in mode devices again", true, epc, enclave)
	p.stop()
}
