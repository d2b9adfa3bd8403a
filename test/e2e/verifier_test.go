package e2e

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVerifier checks that the cluster's verifier verifies the quote of a pod, and that
// a changed policy takes effect.
func TestVerifier(t *testing.T) {
	log := runJob(t, "default", "examples/attested-job/job.yaml")
	block, _ := pem.Decode([]byte(log))
	if block == nil {
		t.Fatalf("no quote in the log:\n%s", log)
	}
	dir := t.TempDir()
	run(t, "", "bin/confcom", "simulated", "collateral", "--out-dir", dir)
	values := make(map[string]any)
	for name, file := range map[string]string{"root": "root.pem", "bundle": "collateral.json"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		values[name] = string(text)
	}
	values["enabled"] = true
	before := chartValues(t)
	t.Cleanup(func() { install(t, before) })
	verify := func(policy map[string]any, want bool) (answer struct {
		Trusted bool
		Status  string
		Reason  string
	}) {
		t.Helper()
		values["policy"] = policy
		var all map[string]any
		if err := json.Unmarshal([]byte(before), &all); err != nil {
			t.Fatal(err)
		}
		all["verifier"] = values
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		install(t, string(text))
		kubectl(t, "-n", namespace, "rollout", "status", "deployment/confcom-verifier", "--timeout=60s")
		request, err := json.Marshal(map[string]any{"quote": block.Bytes})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "request.json")
		if err := os.WriteFile(file, request, 0o600); err != nil {
			t.Fatal(err)
		}
		// The API server's proxy may forward to the former pod for a moment longer.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			reply, err := try(t, "", "kubectl", "create", "--raw", "/api/v1/namespaces/"+namespace+"/services/http:confcom-verifier:verify/proxy/v1/verify", "-f", file)
			if err == nil {
				err = json.Unmarshal([]byte(reply), &answer)
			}
			if err == nil && answer.Trusted == want {
				return answer
			}
			if time.Now().After(deadline) {
				t.Fatalf("trusted: %v, want %v (%v): %s", answer.Trusted, want, err, reply)
			}
		}
	}
	if answer := verify(map[string]any{"anyEnclave": true}, true); answer.Status != "UpToDate" {
		t.Errorf("%+v", answer)
	}
	// A changed bundle makes new pods, so that the test need not wait until the kubelet
	// writes the changed policy into the running one.
	values["bundle"] = values["bundle"].(string) + "\n"
	if answer := verify(map[string]any{"mrSigners": []string{strings.Repeat("00", 32)}}, false); !strings.Contains(answer.Reason, "MRSIGNER") {
		t.Errorf("with a policy that requires another signer: %+v", answer)
	}
}
