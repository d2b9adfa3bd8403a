package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
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

// install installs confcom from the registry with a profile and values, and uninstalls it
// after the test. Nothing of it may be left for the next installation.
func (r registry) install(t *testing.T, profiles []string, values ...string) {
	t.Helper()
	args := append([]string{"install", "confcom"}, r.chart(values...)...)
	for _, profile := range profiles {
		args = append(args, "--values", "charts/confcom/profiles/"+profile+".yaml")
	}
	args = append(args, "-n", namespace, "--create-namespace", "--wait", "--timeout", "2m")
	t.Cleanup(func() {
		run(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--wait", "--timeout", "2m")
		eventually(t, "nothing runs any more", func() bool { return kubectl(t, "-n", namespace, "get", "all", "-o", "name") == "" })
	})
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

// TestRelease does what a new administrator does with a release: push it to a registry, install
// it from there with each profile, run the samples, upgrade under load, roll back, uninstall.
// helm pulls the chart from the registry, and the kubelet the images. Nothing is loaded into
// the cluster.
func TestRelease(t *testing.T) {
	r := startRegistry(t)
	digests := r.push(t, trial)
	setAside(t)
	t.Run("simulated", func(t *testing.T) { testSimulatedProfile(t, r, digests) })

	// On machines with SGX. A stand-in for Intel's libraries makes the quotes, since these need
	// the hardware. Its image is no part of a release: who has built it pushes it beside.
	run(t, "", "bin/release", "push-image", buildDCAPImage(t), r.host+"/confcom/sgx-quote-helper-dcap:0.1.0")
	for _, tt := range []struct {
		profiles []string
		values   []string
		check    func(t *testing.T)
	}{
		{[]string{"aks"}, nil, func(t *testing.T) {
			if file := kubectl(t, "-n", namespace, "get", "configmap", "sgx-quote-provider", "-o", "jsonpath={.data}"); !strings.Contains(file, "acccache.azure.net") {
				t.Errorf("the quote provider asks %s", file)
			}
		}},
		{[]string{"dcap", "intel-compatible"}, []string{"dcap.provider.pccsURL=https://pccs.example/sgx/certification/v4/", "provision.namespaces={default}"}, func(t *testing.T) {
			if label, reason := labelOf(t); label != "true" {
				t.Errorf("the node has the label %q: %s", label, reason)
			}
			waitAllocatable(t, provision, slots)
			p := newPod(t, "default", "intel", limits{"sgx.intel.com/epc": "512Ki", enclave: "1", provision: "1"})
			p.waitReady(t)
			p.checkDevice(t, "/dev/sgx_enclave", true)
			p.checkDevice(t, "/dev/sgx_provision", true)
			if mib := p.get(t, "{.spec.containers[0].resources.limits."+strings.ReplaceAll(resource, ".", `\.`)+"}"); mib != "1" {
				t.Errorf("a pod for Intel's plugin has %q MiB of EPC, want 1", mib)
			}
		}},
	} {
		t.Run(strings.Join(tt.profiles, "+"), func(t *testing.T) {
			const all = 2048 // MiB, for the largest sample
			r.install(t, tt.profiles, append(tt.values, "dcap.simulatedHardware=true", "simulatedDevice=/dev/null", fmt.Sprintf("simulatedEPC=%dMi", all))...)
			waitAllocatable(t, resource, fmt.Sprint(all-12)) // three times 4 MiB are the helper's
			if output, err := helmTest(t); err != nil || !strings.Contains(output, "SIMULATED quotes of") {
				t.Errorf("helm test: %v\n%s", err, output)
			}
			r.checkRequested(t, "sgx-quote-helper-dcap", "0.1.0")
			tt.check(t)
			r.runSamples(t)
			r.admitSamplesForHardware(t)
		})
	}
}

// testSimulatedProfile installs the simulated platform, with the first release that the cluster
// sees, runs the samples, upgrades and rolls back.
func testSimulatedProfile(t *testing.T, r registry, digests map[string]string) {
	r.install(t, []string{"simulated"}, "logLevel=warn")
	waitAllocatable(t, resource, epc)
	daemons := []string{"sgx-device-plugin", "sgx-node-resource", helper}
	for _, name := range daemons {
		r.checkPulled(t, name, digests)
		// What 'make trial' has built is new to the cluster.
		if fetched := regexp.MustCompile(`GET /v2/confcom/`+name+`/blobs/\S+ containerd/`).FindAllString(r.requests.String(), -1); len(fetched) < 2 {
			t.Errorf("the container runtime fetched only %q of %s: 'make trial' builds a release that it does not have", fetched, name)
		}
	}
	if output, err := helmTest(t); err != nil || !strings.Contains(output, "the installation works") {
		t.Errorf("helm test: %v\n%s", err, output)
	}
	r.runSamples(t)
	r.checkRequested(t, "attested-job", "0.1.0")

	// docs/how-to/upgrade.md, while 20 pods request quotes without pause. None of them fails.
	const clients = 20
	second := r.push(t, nextRelease(t, "0.2.0"))
	startClientsOf(t, r.host+"/confcom/confcom:0.1.0", clients)
	run(t, "", "helm", "-n", namespace, "upgrade", "confcom", "oci://"+r.host+"/confcom/charts/confcom", "--version", "0.2.0", "--plain-http",
		"--reset-then-reuse-values", "--wait", "--timeout", "2m")
	for _, name := range daemons {
		r.checkPulled(t, name, second)
	}
	if args := (pod{namespace, daemonPod(t, helper)}).get(t, "{.spec.containers[0].args}"); !strings.Contains(args, "--log-level=warn") {
		t.Errorf("the upgrade forgets values: %s", args)
	}
	run(t, "", "helm", "-n", namespace, "rollback", "confcom", "--wait", "--timeout", "2m")
	for _, name := range daemons {
		r.checkPulled(t, name, digests)
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

// checkRequested checks that the container runtime asked the registry for an image by its tag.
func (r registry) checkRequested(t *testing.T, name, tag string) {
	t.Helper()
	if !strings.Contains(r.requests.String(), "HEAD /v2/confcom/"+name+"/manifests/"+tag+" containerd/") {
		t.Errorf("the container runtime did not pull %s:%s", name, tag)
	}
}

// runSamples runs the samples that need no hardware, with images of the registry.
func (r registry) runSamples(t *testing.T) {
	t.Helper()
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
	service := startAttestedService(t, r.host)
	service.waitSecret(t)
}

// admitSamplesForHardware starts the samples whose images need SGX, with an image that does
// nothing in their place: their pods are scheduled by their EPC, and get the device and the
// socket of the quote helper.
func (r registry) admitSamplesForHardware(t *testing.T) {
	t.Helper()
	const space = "e2e-samples"
	kubectl(t, "delete", "namespace", space, "--ignore-not-found")
	kubectl(t, "create", "namespace", space)
	t.Cleanup(func() { kubectl(t, "delete", "namespace", space, "--wait=false") })
	image := regexp.MustCompile(`(?m)^( *(?:- )?image: ).*$`)
	for name, manifest := range samplesForHardware(t) {
		run(t, image.ReplaceAllString(manifest, "${1}confcom.invalid/pause:local"), "kubectl", "-n", space, "apply", "-f", "-")
		_, err := try(t, "", "kubectl", "-n", space, "wait", "pods", "-l", "app="+name, "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, kubectl(t, "-n", space, "describe", "pods", "-l", "app="+name))
			continue
		}
		p := pod{space, kubectl(t, "-n", space, "get", "pods", "-l", "app="+name, "-o", "jsonpath={.items[0].metadata.name}")}
		p.checkDevice(t, "/dev/sgx_enclave", true)
		p.checkDevice(t, "/dev/sgx_provision", false)
		if info, err := os.Stat(p.path(t, aesmDir+"/aesm.socket")); err != nil || info.Mode()&os.ModeSocket == 0 {
			t.Errorf("%s has no socket for quotes: %v", name, err)
		}
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
