package e2e

import (
	"regexp"
	"testing"
)

// TestPodNames checks that the audit log has the namespace and the name of a pod, if that is
// wanted.
func TestPodNames(t *testing.T) {
	upgrade(t, "quoteHelper.podNames=true")
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
