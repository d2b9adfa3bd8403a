package e2e

import (
	"encoding/json"
	"regexp"
	"testing"
)

// TestPodNames checks that the audit log has the namespace and the name of a pod, if the
// helper gets the directory with the logs of pods.
func TestPodNames(t *testing.T) {
	var kubelet struct {
		KubeletConfig struct{ PodLogsDir string }
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "--raw", "/api/v1/nodes/"+nodeName(t)+"/proxy/configz")), &kubelet); err != nil {
		t.Fatal(err)
	}
	upgrade(t, "quoteHelper.podLogsDir="+kubelet.KubeletConfig.PodLogsDir)
	waitRollout(t, "sgx-quote-helper")
	runJob(t, "default", "examples/attested-job/job.yaml")
	pod := kubectl(t, "get", "pods", "-l", "app=attested-job", "-o", "jsonpath={.items[0].metadata.uid} {.items[0].metadata.name}")
	uid, name := pod[:36], pod[37:]
	log := kubectl(t, "-n", namespace, "logs", daemonPod(t, "sgx-quote-helper"))
	want := `"msg":"quote".*"peer":\{"pod":"` + uid + `","namespace":"default","name":"` + name + `"`
	if !regexp.MustCompile(want).MatchString(log) {
		t.Errorf("the audit log lacks %s:\n%s", want, log)
	}
}
