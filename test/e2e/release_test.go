package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
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

// install installs confcom from the registry, and uninstalls it after the test.
func (r registry) install(t *testing.T, values ...string) {
	t.Helper()
	setAside(t)
	args := append([]string{"install", "confcom"}, r.chart(values...)...)
	args = append(args, "-n", namespace, "--create-namespace", "--wait", "--timeout", "2m")
	t.Cleanup(func() { run(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--wait", "--timeout", "2m") })
	if _, err := try(t, "", "helm", args...); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", namespace, "describe", "pods"))
	}
}

// setAside uninstalls the chart that the test suite has installed, if any, and installs it
// again after the test.
func setAside(t *testing.T) {
	t.Helper()
	if _, err := try(t, "", "helm", "-n", namespace, "status", "confcom"); err == nil {
		uninstall(t)
	}
}

// push pushes a release and returns the digest of each of its images, by repository.
func (r registry) push(t *testing.T, release string) map[string]string {
	t.Helper()
	digests := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^(\S+):[0-9.]+@(sha256:[0-9a-f]{64})$`).FindAllStringSubmatch(run(t, "", "bin/release", "push", release, r.host), -1) {
		digests[m[1]] = m[2]
	}
	return digests
}

// checkPulled checks that the container runtime pulled an image of the release, and that a
// pod of the DaemonSet of this name runs it. The runtime asks the registry for each image,
// but does not fetch again what it has from another one.
func (r registry) checkPulled(t *testing.T, name string, digests map[string]string) {
	t.Helper()
	repository := r.host + "/confcom/" + name
	digest := digests[repository]
	p := pod{namespace, daemonPod(t, name)}
	if got := p.get(t, "{.spec.containers[*].image}"); got != repository+"@"+digest {
		t.Errorf("%s has the image %s, want %s@%s", name, got, repository, digest)
	}
	if got := p.get(t, "{.status.containerStatuses[*].imageID}"); !strings.HasSuffix(got, "@"+digest) {
		t.Errorf("%s runs %s, want %s", name, got, digest)
	}
	if !strings.Contains(r.requests.String(), "HEAD /v2/confcom/"+name+"/manifests/"+digest+" containerd/") {
		t.Errorf("the container runtime did not pull %s", name)
	}
}

// TestInstallFromRegistry installs a release as an administrator does: helm pulls the chart
// from a registry, and the kubelet the images. Nothing is loaded into the cluster.
func TestInstallFromRegistry(t *testing.T) {
	r := startRegistry(t)
	digests := r.push(t, trial)
	r.install(t, "platform=simulated")
	waitAllocatable(t, resource, epc)
	for _, name := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		r.checkPulled(t, name, digests)
		// What 'make trial' has built is new to the cluster.
		if fetched := regexp.MustCompile(`GET /v2/confcom/`+name+`/blobs/\S+ containerd/`).FindAllString(r.requests.String(), -1); len(fetched) < 2 {
			t.Errorf("the container runtime fetched only %q of %s: 'make trial' builds a release that it does not have", fetched, name)
		}
	}
	if output, err := helmTest(t); err != nil || !strings.Contains(output, "the installation works") {
		t.Errorf("helm test: %v\n%s", err, output)
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
	if !strings.Contains(r.requests.String(), "HEAD /v2/confcom/attested-job/manifests/0.1.0 containerd/") {
		t.Errorf("the container runtime did not pull the sample")
	}
}

// TestInstallDCAPFromRegistry does so with workers, on the stand-in for Intel's libraries. Its
// image is no part of a release: who has built it pushes it beside.
func TestInstallDCAPFromRegistry(t *testing.T) {
	r := startRegistry(t)
	r.push(t, trial)
	run(t, "", "bin/release", "push-image", buildDCAPImage(t), r.host+"/confcom/sgx-quote-helper-dcap:0.1.0")
	r.install(t, "platform=dcap", "dcap.simulatedHardware=true", "simulatedDevice=/dev/null", "dcap.provider.pccsURL=https://pccs.example/sgx/certification/v4/")
	if output, err := helmTest(t); err != nil || !strings.Contains(output, "SIMULATED quotes of") {
		t.Errorf("helm test: %v\n%s", err, output)
	}
	if !strings.Contains(r.requests.String(), "HEAD /v2/confcom/sgx-quote-helper-dcap/manifests/0.1.0 containerd/") {
		t.Errorf("the container runtime did not pull the quote helper")
	}
}

// nextRelease builds a release of this checkout with another version.
func nextRelease(t *testing.T, version string) string {
	t.Helper()
	source, release := t.TempDir(), filepath.Join(t.TempDir(), "release")
	for name := range strings.SplitSeq(strings.Trim(run(t, "", "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, but not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if name == "charts/confcom/Chart.yaml" {
			content = bytes.ReplaceAll(content, []byte("ersion: 0.1.0"), []byte("ersion: "+version))
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(source, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(source, name), content, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "", "bin/release", "build", "--as-is", "--source", source, "--output", release)
	return release
}

// TestUpgradeFromRegistry upgrades to another release as docs/how-to/upgrade.md says, and
// rolls back, while 20 pods request quotes without pause. None of them fails.
func TestUpgradeFromRegistry(t *testing.T) {
	const clients = 20
	r := startRegistry(t)
	first, second := r.push(t, trial), r.push(t, nextRelease(t, "0.2.0"))
	r.install(t, "platform=simulated", "logLevel=warn")
	waitAllocatable(t, resource, epc)
	startClientsOf(t, r.host+"/confcom/confcom:0.1.0", clients)

	run(t, "", "helm", "-n", namespace, "upgrade", "confcom", "oci://"+r.host+"/confcom/charts/confcom", "--version", "0.2.0", "--plain-http",
		"--reset-then-reuse-values", "--wait", "--timeout", "2m")
	for _, name := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		r.checkPulled(t, name, second)
	}
	if args := (pod{namespace, daemonPod(t, helper)}).get(t, "{.spec.containers[0].args}"); !strings.Contains(args, "--log-level=warn") {
		t.Errorf("the upgrade forgets values: %s", args)
	}
	run(t, "", "helm", "-n", namespace, "rollback", "confcom", "--wait", "--timeout", "2m")
	for _, name := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		r.checkPulled(t, name, first)
	}
	quotes := uint64(0)
	for _, result := range endClients(t, clients) {
		if result.Failed != 0 || result.Requests == 0 {
			t.Errorf("a client failed: %+v", result)
		}
		quotes += result.Requests
	}
	t.Logf("%d pods got %d quotes during an upgrade and a rollback", clients, quotes)
}
