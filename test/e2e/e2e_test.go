// Package e2e tests confcom on a real Kubernetes cluster, with the commands that
// users type. 'make e2e' starts a cluster, runs the tests and stops it.
package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/test/oracles"
)

const (
	root     = "../.." // the checkout
	resource = "kubernetes.azure.com/sgx_epc_mem_in_MiB"
	enclave  = "sgx.intel.com/enclave"
	epc      = "64"  // MiB of EPC that the node advertises
	slots    = "256" // the shared device count
)

func TestMain(m *testing.M) {
	if path := os.Getenv(mapEnv); path != "" {
		if err := mapFile(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("CONFCOM_E2E") == "" {
		fmt.Println("NOT RUN: the end-to-end tests need a cluster with confcom; 'make e2e' starts one")
		return
	}
	os.Exit(m.Run())
}

// runJob applies a manifest with the job attested-job, waits until the job is
// complete and returns its log. It deletes the job after the test.
func runJob(t *testing.T, namespace, manifest string) string {
	t.Helper()
	kubectl(t, "delete", "-f", manifest, "--ignore-not-found")
	kubectl(t, "apply", "-f", manifest)
	t.Cleanup(func() { kubectl(t, "delete", "-f", manifest, "--wait=false") })
	if _, err := try(t, "", "kubectl", "-n", namespace, "wait", "--for=condition=complete", "--timeout=60s", "job/attested-job"); err != nil {
		log, _ := try(t, "", "kubectl", "-n", namespace, "logs", "-l", "app=attested-job")
		pods, _ := try(t, "", "kubectl", "-n", namespace, "describe", "pods", "-l", "app=attested-job")
		t.Fatalf("%v\nlog: %s\n%s", err, log, pods)
	}
	return kubectl(t, "-n", namespace, "logs", "job/attested-job")
}

func TestNodeAdvertisesEPC(t *testing.T) {
	waitAllocatable(t, resource, epc)
	waitAllocatable(t, enclave, slots)
}

// TestAttestedJob runs the sample job, which is scheduled by its EPC and gets a quote
// over AESM, and verifies the quote outside of the pod.
func TestAttestedJob(t *testing.T) {
	log := runJob(t, "default", "examples/attested-job/job.yaml")
	if !strings.Contains(log, `verified up to the root "SIMULATED (NOT INTEL) SGX Root CA"`) {
		t.Errorf("the job's own verdict is missing from its log:\n%s", log)
	}
	rootFile := filepath.Join(t.TempDir(), "root.pem")
	run(t, "", "bin/confcom", "simulated", "root", "--out", rootFile)
	dir := t.TempDir()
	run(t, "", "bin/confcom", "simulated", "collateral", "--out-dir", dir)

	t.Run("trusted under the simulated root", func(t *testing.T) {
		var result attest.Result
		if err := json.Unmarshal([]byte(run(t, log, "bin/confcom", "quote", "verify", "-", "--any-enclave", "--root", rootFile, "--collateral", dir, "-o", "json")), &result); err != nil {
			t.Fatal(err)
		}
		if !result.Trusted {
			t.Errorf("%+v", result)
		}
	})
	t.Run("not trusted without it", func(t *testing.T) {
		output, err := try(t, log, "bin/confcom", "quote", "verify", "-", "--collateral", dir)
		if exitCode(err) != 1 || !strings.Contains(output, "NOT TRUSTED") {
			t.Errorf("exit code %d:\n%s", exitCode(err), output)
		}
	})
	t.Run("another verifier agrees", func(t *testing.T) {
		block, _ := pem.Decode([]byte(log))
		if block == nil {
			t.Fatalf("no quote in the log:\n%s", log)
		}
		collateral, err := os.ReadFile(filepath.Join(dir, "collateral.json"))
		if err != nil {
			t.Fatal(err)
		}
		if v := oracles.DCAPQVL(t, block.Bytes, collateral, simulation.RootPEM(), time.Now()); v.Status != "UpToDate" {
			t.Errorf("with the simulated root: %+v", v)
		}
		if v := oracles.DCAPQVL(t, block.Bytes, collateral, nil, time.Now()); v.Error == "" {
			t.Errorf("with Intel's root: %+v", v)
		}
	})
}

// TestRestrictedJob runs the sample job under the Pod Security Standard "restricted":
// without volumes and not as root.
func TestRestrictedJob(t *testing.T) {
	log := runJob(t, "attested-restricted", "examples/attested-job/job-restricted.yaml")
	if !strings.Contains(log, "verified up to the root") {
		t.Errorf("the job's own verdict is missing from its log:\n%s", log)
	}
}

// TestEPCIsCounted checks that a pod that requests more EPC than the node has is never
// scheduled.
func TestEPCIsCounted(t *testing.T) {
	newPod(t, "default", "too-large", limits{resource: "65"}).waitUnschedulable(t, "Insufficient "+resource)
}

// TestKubeletRestart checks that the running plugin registers again with a restarted
// kubelet, and that jobs run as before.
func TestKubeletRestart(t *testing.T) {
	registrations := func() int {
		return int(metrics(t, "sgx-device-plugin")[`sgx_device_plugin_registrations_total{resource="`+resource+`"}`])
	}
	before := registrations()
	run(t, "", "bin/cluster", "restart", "kubelet")
	runJob(t, "default", "examples/attested-job/job.yaml")
	waitAllocatable(t, resource, epc)
	if after := registrations(); after != before+1 {
		t.Errorf("registrations: %d before the restart, %d after", before, after)
	}
}

// TestPluginRestart checks that a new plugin advertises what the old one did.
func TestPluginRestart(t *testing.T) {
	kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/sgx-device-plugin")
	waitRollout(t, "sgx-device-plugin")
	waitAllocatable(t, resource, epc)
	runJob(t, "default", "examples/attested-job/job.yaml")
}

// TestQuoteHelperRestart checks that a job gets a quote from a new quote helper.
func TestQuoteHelperRestart(t *testing.T) {
	kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/sgx-quote-helper")
	waitRollout(t, "sgx-quote-helper")
	runJob(t, "default", "examples/attested-job/job.yaml")
}
