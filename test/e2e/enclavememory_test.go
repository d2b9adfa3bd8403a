package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// mapEnv turns the test binary into a program that maps the file that it names.
const mapEnv = "CONFCOM_E2E_MAP"

const mappedMiB = 8

// mapFile maps a file as enclaves are mapped, as another user, until its input ends.
func mapFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, mappedMiB<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer syscall.Munmap(memory)
	if err := syscall.Setuid(65532); err != nil {
		return err
	}
	fmt.Println("mapped")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startMapping starts a process in the cgroup of the pod's container that maps a file with the
// path of the enclave device: the simulated device cannot be mapped. It ends with the test.
func (p pod) startMapping(t *testing.T) {
	t.Helper()
	device := filepath.Join(t.TempDir(), "dev/sgx_enclave")
	if err := os.Mkdir(filepath.Dir(device), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(device, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), mapEnv+"="+device)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "mapped\n" {
		t.Fatalf("%q, %v", line, err)
	}

	container := containerID(p.get(t, "{.status.containerStatuses[0].containerID}"))
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", processesOf(t, container)[0]))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(own)) {
		_, path, _ := strings.Cut(strings.TrimSpace(line[strings.IndexByte(line, ':')+1:]), ":")
		mounts, _ := filepath.Glob("/sys/fs/cgroup/*" + path + "/cgroup.procs") // cgroup v1
		for _, procs := range append(mounts, "/sys/fs/cgroup"+path+"/cgroup.procs") {
			if !strings.Contains(path, container) {
				continue
			}
			if err := os.WriteFile(procs, []byte(strconv.Itoa(command.Process.Pid)), 0); err == nil {
				return
			}
		}
	}
	t.Fatalf("no cgroup of the pod accepts a process:\n%s", own)
}

// TestEnclaveMemory checks that the metrics of mapped enclave memory are there if they are
// wanted, for a process of another user in a pod, and that confcom top shows them.
func TestEnclaveMemory(t *testing.T) {
	upgrade(t, "devicePlugin.enclaveMemory=true")
	p := newPod(t, "default", "enclave-memory", limits{resource: "4"})
	p.waitReady(t)
	p.startMapping(t)
	sample := `sgx_enclave_memory_pod_mapped_bytes{uid="` + p.get(t, "{.metadata.uid}") + `"}`
	eventually(t, "the pod has the metric "+sample, func() bool { return metrics(t, "sgx-device-plugin")[sample] == mappedMiB<<20 })
	if sum := metrics(t, "sgx-device-plugin")["sgx_enclave_memory_mapped_bytes"]; sum < mappedMiB<<20 {
		t.Errorf("the processes of the node map %v bytes", sum)
	}

	out, err := exec.Command("../../bin/confcom", "top", "--once", "--interval=1s", "--output=json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var top struct {
		Nodes []struct{ MappedMiB *float64 }
		Pods  []struct {
			Name         string
			RequestedMiB int64
			MappedMiB    *float64
		}
	}
	if err := json.Unmarshal(out, &top); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, shown := range top.Pods {
		found = found || shown.Name == p.name && shown.RequestedMiB == 4 && shown.MappedMiB != nil && *shown.MappedMiB == mappedMiB
	}
	if !found || len(top.Nodes) != 1 || top.Nodes[0].MappedMiB == nil {
		t.Errorf("confcom top does not show what the pod maps:\n%s", out)
	}
}
