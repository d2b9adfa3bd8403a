package e2e

import (
	"strings"
	"testing"
)

// TestDoctor checks that every pod of the chart has the doctor, which knows where it is.
func TestDoctor(t *testing.T) {
	for _, c := range []struct {
		daemon string
		want   []string
	}{
		{helper, []string{"what sgx-quote-helper uses here", "with --platform=simulated is ready", "SIMULATED quotes", "no problem"}},
		{"sgx-device-plugin", []string{"another daemon than the quote helper", "sgx-device-plugin", "is ready", "the EPC is simulated", "no problem"}},
	} {
		output, err := try(t, "", "kubectl", "-n", namespace, "exec", daemonPod(t, c.daemon), "--", "confcom", "doctor")
		for _, want := range c.want {
			if err != nil || !strings.Contains(words(output), want) {
				t.Errorf("%s: %v; want %q in\n%s", c.daemon, err, want, output)
			}
		}
	}
	for _, c := range []struct {
		name   string
		limits limits
		phase  string
		want   []string
	}{
		{"doctor-with-limit", limits{resource: "1"}, "Succeeded", []string{"the pod of an application", "which comes with an EPC limit", "SIMULATED quotes"}},
		{"doctor-without-limit", nil, "Failed", []string{"this container has no EPC limit", resource + ": 10", "PROBLEMS limit"}},
	} {
		spec := podSpec(confcom, c.limits, "doctor")
		spec["restartPolicy"] = "Never"
		p := createPod(t, "default", c.name, spec)
		_, err := try(t, "", "kubectl", "wait", "pod/"+c.name, "--for=jsonpath={.status.phase}="+c.phase, "--timeout=60s")
		log := kubectl(t, "logs", p.name)
		for _, want := range c.want {
			if err != nil || !strings.Contains(words(log), want) {
				t.Errorf("%s: %v; want %q in\n%s", c.name, err, want, log)
			}
		}
		if strings.Contains(log, "provision") {
			t.Errorf("%s steers to the provision device:\n%s", c.name, log)
		}
	}
}

// words returns a text whose lines were wrapped in one line.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
