package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// attestedService is the sample service and its relying party.
type attestedService struct{ space, address, manifests string }

// startAttestedService starts both, with images of a registry and under the Pod Security
// Standard "restricted". The cluster has neither DNS nor service addresses, so the relying
// party gets the address of the pod.
func startAttestedService(t *testing.T, registry string) attestedService {
	t.Helper()
	const space = "attested-service"
	kubectl(t, "delete", "namespace", space, "--ignore-not-found")
	kubectl(t, "create", "namespace", space)
	t.Cleanup(func() { kubectl(t, "delete", "namespace", space, "--wait=false") })
	kubectl(t, "label", "namespace", space, "pod-security.kubernetes.io/enforce=restricted")
	all := strings.ReplaceAll(kubectl(t, "kustomize", "examples/attested-service/simulated"), " localhost/", " "+registry+"/")
	run(t, all, "kubectl", "-n", space, "apply", "-f", "-", "-l", "app=attested-service")
	if _, err := try(t, "", "kubectl", "-n", space, "rollout", "status", "deployment/attested-service", "--timeout=60s"); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", space, "describe", "pods"))
	}
	address := "http://" + kubectl(t, "-n", space, "get", "pods", "-l", "app=attested-service", "-o", "jsonpath={.items[0].status.podIP}") + ":8080"
	all = strings.Replace(all, "- --secret-file", "- --service="+address+"\n        - --secret-file", 1)
	run(t, all, "kubectl", "-n", space, "apply", "-f", "-")
	return attestedService{space, address, all}
}

// waitSecret waits until the relying party has sent its secret to the service, and returns its
// log.
func (s attestedService) waitSecret(t *testing.T) string {
	t.Helper()
	if _, err := try(t, "", "kubectl", "-n", s.space, "wait", "--for=condition=complete", "--timeout=60s", "job/relying-party"); err != nil {
		log, _ := try(t, "", "kubectl", "-n", s.space, "logs", "-l", "app", "--prefix", "--tail=-1")
		t.Fatalf("%v\n%s\n%s", err, log, kubectl(t, "-n", s.space, "describe", "pods"))
	}
	return kubectl(t, "-n", s.space, "logs", "job/relying-party")
}

// TestAttestedService runs the sample service and its relying party.
func TestAttestedService(t *testing.T) {
	service := startAttestedService(t, "localhost")
	space, address, all := service.space, service.address, service.manifests
	log := service.waitSecret(t)
	for _, want := range []string{
		"MRSIGNER e0f43202",
		`UpToDate, under the root "SIMULATED (NOT INTEL) SGX Root CA"`,
		"the service got the secret of 19 bytes",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log of the relying party lacks %q:\n%s", want, log)
		}
	}
	if log := kubectl(t, "-n", space, "logs", "deployment/attested-service"); !strings.Contains(log, `msg="received a secret" bytes=19`) {
		t.Errorf("the log of the service:\n%s", log)
	}

	t.Run("genuine platforms only", func(t *testing.T) {
		job := all[strings.Index(all, "apiVersion: batch/v1"):]
		for was, is := range map[string]string{
			"\n        - --trust-simulated": "",
			"name: relying-party\n":         "name: strict\n",
			"backoffLimit: 4":               "backoffLimit: 0",
		} {
			if !strings.Contains(job, was) {
				t.Fatalf("%q is not in the job:\n%s", was, job)
			}
			job = strings.Replace(job, was, is, 1)
		}
		run(t, job, "kubectl", "-n", space, "create", "-f", "-")
		kubectl(t, "-n", space, "wait", "--for=condition=failed", "--timeout=60s", "job/strict")
		log := kubectl(t, "-n", space, "logs", "job/strict")
		if !strings.Contains(log, "the service did not get the secret") {
			t.Errorf("the log of a relying party that trusts genuine platforms only:\n%s", log)
		}
	})

	// The relying party outside of the cluster, as the page about the sample runs it.
	t.Run("outside of the cluster", func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("of somebody outside"), 0o600); err != nil {
			t.Fatal(err)
		}
		output := run(t, "", "bin/relying-party", "--service="+address, "--secret-file="+secret, "--trust-simulated",
			"--mrsigner=e0f43202b71505379fb422b0dcd88f8a56da9c8222d75e1302e66c803d87aeb2")
		if !strings.Contains(output, "only its enclave can read it") {
			t.Error(output)
		}
	})
}

// samplesForHardware returns the manifests of the samples that cannot run here, by the label
// "app" of their pods.
func samplesForHardware(t *testing.T) map[string]string {
	t.Helper()
	manifests := map[string]string{"attested-service": kubectl(t, "kustomize", "examples/attested-service/hardware")}
	for name, app := range map[string]string{"open-enclave": "open-enclave", "aks-helloworld": "oe-helloworld"} {
		text, err := os.ReadFile(filepath.Join(root, "examples", name, "job.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		manifests[app] = string(text)
	}
	return manifests
}

// TestSamplesForHardware checks that the API server accepts the manifests of the samples that
// cannot run here, and that none of them trusts simulated platforms.
func TestSamplesForHardware(t *testing.T) {
	for name, manifest := range samplesForHardware(t) {
		if strings.Contains(manifest, "--trust-simulated") || strings.Contains(manifest, "localhost/") {
			t.Errorf("the manifests of %s:\n%s", name, manifest)
		}
		run(t, manifest, "kubectl", "apply", "--dry-run=server", "-f", "-")
	}
}
