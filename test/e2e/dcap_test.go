package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
)

// TestDCAP tests the helper and its workers on the stand-in for Intel's libraries.
// Killed workers are replaced, and pods do not notice.
func TestDCAP(t *testing.T) {
	loadDCAPImage(t)
	upgrade(t, "platform=dcap", "dcap.simulatedHardware=true", "simulatedDevice=/dev/null", "dcap.provider.pccsURL=https://pccs.example/sgx/certification/v4/")
	waitRollout(t, helper)

	for sample, want := range map[string]float64{"workers": 2, "platform_slots": 2} {
		if got := metrics(t, helper)["sgx_quote_helper_"+sample]; got != want {
			t.Errorf("%s: %v, want %v", sample, got, want)
		}
	}
	helperPod := pod{namespace, daemonPod(t, helper)}
	helperPod.checkDevice(t, "/dev/sgx_enclave", true)
	helperPod.checkDevice(t, "/dev/sgx_provision", true)
	pod, enclave := quotingPod(t, "dcap")
	uid := pod.get(t, "{.metadata.uid}")
	if line, found := lastQuote(t, func(l logLine) bool { return l.Peer.Pod == uid }); !found || line.MREnclave != enclave {
		t.Errorf("%+v, want enclave %s", line, enclave)
	}

	report := kubectl(t, "-n", namespace, "exec", daemonPod(t, helper), "--", "/confcom", "doctor",
		"--check=libraries", "--check=providers", "--check=configuration", "--check=network", "--check=environment", "--check=socket", "--check=quote")
	for _, want := range []string{"/opt/dcaptest/", "asked for certificates of this platform", "HTTP status 200", "answers", "SIMULATED quotes", "no problem"} {
		if !strings.Contains(strings.Join(strings.Fields(report), " "), want) {
			t.Errorf("the report of doctor lacks %q:\n%s", want, report)
		}
	}

	killed := 0
	container := kubectl(t, "-n", namespace, "get", "pod", daemonPod(t, helper), "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	for _, pid := range processesOf(t, containerID(container)) {
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && filepath.Base(program) == "sgx-quote-worker" {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			killed++
		}
	}
	if killed != 2 {
		t.Errorf("found %d workers, want 2", killed)
	}
	quotingPod(t, "dcap-again")
	if ends := metrics(t, helper)[`sgx_quote_helper_worker_ends_total{reason="crash"}`]; ends != 2 {
		t.Errorf("%v workers crashed, want 2", ends)
	}
}

// loadDCAPImage loads an image of the helper with its worker and the stand-in for
// Intel's libraries into the cluster.
func loadDCAPImage(t *testing.T) {
	t.Helper()
	run(t, "", "bin/cluster", "image", "load", buildDCAPImage(t))
}

// buildDCAPImage returns the tarball of that image, which is another one for each test. Once
// a kubelet has pulled an image, it pulls the same one under any other name as well, instead
// of using what was loaded: it verifies that the pod may have it (since Kubernetes 1.35).
func buildDCAPImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	library, err := dcaptest.Build(dir, "node-1")
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "lib*"))
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image.tar")
	args := []string{"image", "build", "--tag=localhost/confcom/sgx-quote-helper-dcap:0.1.0", "--output=" + image,
		"--env=LD_LIBRARY_PATH=/opt/dcaptest", "--env=TEST=" + t.Name(), "--add=bin/sgx-quote-worker=/sgx-quote-worker", "--add=bin/libconfcom_provider.so=/libconfcom_provider.so", "--add=bin/confcom=/confcom",
		"--add-libraries=bin/sgx-quote-worker", "--add-libraries=" + library.Path(dcaptest.QE3Logic)}
	for _, file := range files {
		args = append(args, "--add="+file+"=/opt/dcaptest/"+filepath.Base(file))
	}
	run(t, "", "bin/cluster", append(args, "bin/sgx-quote-helper")...)
	return image
}
