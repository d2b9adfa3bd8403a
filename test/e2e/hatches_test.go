package e2e

import (
	"strings"
	"testing"
)

// TestHatches runs the daemons as administrators may want them: in the network of the node,
// with volumes and accounts of their own. Pods get EPC and quotes as before.
func TestHatches(t *testing.T) {
	const account = "e2e-quote-helper"
	kubectl(t, "-n", namespace, "delete", "serviceaccount", account, "--ignore-not-found")
	kubectl(t, "-n", namespace, "create", "serviceaccount", account)
	t.Cleanup(func() { kubectl(t, "-n", namespace, "delete", "serviceaccount", account) })
	upgrade(t,
		"podLabels.team=platform", "priorityClassName=", "nodeSelector.kubernetes\\.io/os=linux", "dnsPolicy=Default", "seLinuxOptions.type=container_device_plugin_t",
		"extraEnv[0].name=TZ", "extraEnv[0].value=UTC",
		"devicePlugin.hostNetwork=true", "devicePlugin.httpPort=9090",
		"quoteHelper.hostNetwork=true", "quoteHelper.httpPort=9091", "quoteHelper.maxSurge=0",
		"quoteHelper.serviceAccount.create=false", "quoteHelper.serviceAccount.name="+account,
		"quoteHelper.extraVolumes[0].name=mine", "quoteHelper.extraVolumes[0].emptyDir.medium=Memory",
		"quoteHelper.extraVolumeMounts[0].name=mine", "quoteHelper.extraVolumeMounts[0].mountPath=/mine",
		"verifier.enabled=true", "verifier.policy.anyEnclave=true", "verifier.replicas=2", "verifier.podDisruptionBudget.maxUnavailable=1",
	)
	waitRollout(t, "sgx-quote-helper")
	waitRollout(t, "sgx-node-resource")
	kubectl(t, "-n", namespace, "rollout", "status", "deployment/confcom-verifier", "--timeout=60s")
	waitAllocatable(t, resource, epc)
	runJob(t, "default", "examples/attested-job/job.yaml")

	for name, port := range map[string]string{"sgx-device-plugin": "9090", "sgx-quote-helper": "9091"} {
		pod := daemonPod(t, name)
		if got := kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+pod+":"+port+"/proxy/healthz"); strings.TrimSpace(got) != "ok" {
			t.Errorf("%s answers %q at port %s", name, got, port)
		}
		// The doctor finds the port.
		if output, err := try(t, "", "kubectl", "-n", namespace, "exec", pod, "--", "confcom", "doctor"); err != nil || !strings.Contains(words(output), "is ready") {
			t.Errorf("the doctor in the pod of %s: %v\n%s", name, err, output)
		}
		spec := kubectl(t, "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.spec.hostNetwork} {.spec.priorityClassName} {.metadata.labels.team}")
		if spec != "true  platform" {
			t.Errorf("%s: got %q", name, spec)
		}
	}
	if got := kubectl(t, "-n", namespace, "get", "pod", daemonPod(t, "sgx-quote-helper"), "-o", "jsonpath={.spec.serviceAccountName}"); got != account {
		t.Errorf("the quote helper has the account %s", got)
	}
	if got := kubectl(t, "-n", namespace, "get", "pdb", "confcom-verifier", "-o", "jsonpath={.status.expectedPods} {.status.disruptionsAllowed}"); got != "2 1" {
		t.Errorf("the budget has %q, want 2 pods and 1 disruption", got)
	}
}
