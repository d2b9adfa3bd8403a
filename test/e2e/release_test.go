package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// trial is the release of this checkout that 'make trial' builds.
const trial = "dist/trial"

// registry is a container registry on a loopback address of this machine, which is the
// cluster's node.
type registry struct {
	host     string
	requests *requests
}

// requests are the lines of a registry's log.
type requests struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *requests) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *requests) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// startRegistry runs an empty registry during the test.
func startRegistry(t *testing.T) registry {
	t.Helper()
	r := registry{requests: new(requests)}
	command := exec.Command("bin/release", "registry")
	command.Dir = root
	command.Stderr = r.requests
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%v: 'make trial' builds it", err)
	}
	t.Cleanup(func() {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := command.Wait(); err != nil {
			t.Errorf("the registry: %v: %s", err, r.requests)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the registry does not print its address: %v: %s", err, r.requests)
	}
	r.host = strings.TrimSuffix(line, "\n")
	return r
}

// chart returns the arguments by which helm finds the chart in the registry, and images
// are pulled from there.
func (r registry) chart(values ...string) []string {
	return []string{"oci://" + r.host + "/confcom/charts/confcom", "--version", "0.1.0", "--plain-http",
		"--set", strings.Join(append([]string{"global.imageRegistry=" + r.host}, values...), ",")}
}

// setAside uninstalls the chart that the test suite has installed, if any, and installs it
// again after the test.
func setAside(t *testing.T) {
	t.Helper()
	if _, err := try(t, "", "helm", "-n", namespace, "status", "confcom"); err == nil {
		uninstall(t)
		return
	}
	t.Cleanup(func() { run(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--ignore-not-found") })
}

// TestInstallFromRegistry installs a release as an administrator does: helm pulls the chart
// from a registry, and the kubelet the images. Nothing is loaded into the cluster.
func TestInstallFromRegistry(t *testing.T) {
	r := startRegistry(t)
	pushed := run(t, "", "bin/release", "push", trial, r.host)
	setAside(t)

	args := append([]string{"install", "confcom"}, r.chart("platform=simulated")...)
	args = append(args, "-n", namespace, "--create-namespace", "--wait", "--timeout", "2m")
	if _, err := try(t, "", "helm", args...); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", namespace, "describe", "pods"))
	}
	waitAllocatable(t, resource, epc)

	digests := make(map[string]string) // by repository
	for _, m := range regexp.MustCompile(`(?m)^(\S+):0\.1\.0@(sha256:[0-9a-f]{64})$`).FindAllStringSubmatch(pushed, -1) {
		digests[m[1]] = m[2]
	}
	for _, name := range []string{"sgx-device-plugin", "sgx-node-resource", "sgx-quote-helper"} {
		repository := r.host + "/confcom/" + name
		if got, want := (pod{namespace, daemonPod(t, name)}).get(t, "{.spec.containers[*].image} {.status.containerStatuses[*].imageID}"), repository+"@"+digests[repository]; got != want+" "+want {
			t.Errorf("image and ID of %s: %s, want both %s", name, got, want)
		}
		if !strings.Contains(r.requests.String(), "GET /v2/confcom/"+name+"/manifests/"+digests[repository]+" containerd/") {
			t.Errorf("the container runtime did not pull %s:\n%s", name, r.requests)
		}
	}

	// The sample, with its image from the same registry.
	manifest, err := os.ReadFile(filepath.Join(root, "examples/attested-job/job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, bytes.ReplaceAll(manifest, []byte(" localhost/"), []byte(" "+r.host+"/")), 0o666); err != nil {
		t.Fatal(err)
	}
	if log := runJob(t, "default", file); !strings.Contains(log, `verified up to the root "SIMULATED (NOT INTEL) SGX Root CA"`) {
		t.Errorf("the job's own verdict is missing from its log:\n%s", log)
	}
	if !strings.Contains(r.requests.String(), "GET /v2/confcom/attested-job/manifests/") {
		t.Errorf("the container runtime did not pull the sample:\n%s", r.requests)
	}
}
