package e2e

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

const (
	aesmDir   = "/var/run/aesmd"
	confcom   = "localhost/confcom/confcom:0.1.0"
	helper    = "sgx-quote-helper"
	clientUID = 65532 // the user that the pods of these tests run as
)

// TestHelperKnowsPods checks that the log names the pod that got a quote, and the
// enclave that the quote is of.
func TestHelperKnowsPods(t *testing.T) {
	t.Run("by pod", func(t *testing.T) {
		p, enclave := quotingPod(t, "by-pod")
		uid, id := p.get(t, "{.metadata.uid}"), containerID(p.get(t, "{.status.containerStatuses[0].containerID}"))
		line, found := lastQuote(t, func(l logLine) bool { return l.Peer.Pod == uid })
		if !found {
			t.Fatalf("the log has no line for a quote of pod %s:\n%s", uid, helperLog(t))
		}
		if line.Peer.Container != id[:12] || line.Peer.PID == 0 || line.Peer.UID != clientUID || line.MREnclave != enclave {
			t.Errorf("%+v, want container %s and enclave %s", line, id[:12], enclave)
		}
		if strings.Contains(helperLog(t), "hostPID") {
			t.Errorf("the log warns about hostPID:\n%s", helperLog(t))
		}
	})
	t.Run("by user", func(t *testing.T) {
		upgrade(t, "quoteHelper.hostPID=false")
		waitRollout(t, helper)
		_, enclave := quotingPod(t, "by-user-1")
		quotingPod(t, "by-user-2")
		line, found := lastQuote(t, func(logLine) bool { return true })
		if !found || line.Peer != (logPeer{UID: clientUID}) || line.MREnclave != enclave {
			t.Errorf("%+v, want only user %d, and enclave %s", line, clientUID, enclave)
		}
		if log := helperLog(t); strings.Count(log, "hostPID") != 1 {
			t.Errorf("want exactly one warning about hostPID:\n%s", log)
		}
	})
}

// TestHelperReady checks that the helper is ready when it owns the socket and can
// produce quotes.
func TestHelperReady(t *testing.T) {
	if got, want := get(t, helper, "/readyz"), "[+] running\n[+] socket\n[+] quotes\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHelperMetrics checks the metrics of the quote helper.
func TestHelperMetrics(t *testing.T) {
	const quotes = `sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteEx"}`
	before := metrics(t, helper)
	quotingPod(t, "metrics-quote")
	after := metrics(t, helper)
	if got := after[quotes] - before[quotes]; got != 1 {
		t.Errorf("counted %v quotes, want 1", got)
	}
	for _, sample := range []string{"connections", "requests_in_flight", "requests_waiting", "panics_total"} {
		if got, found := after["sgx_quote_helper_"+sample]; !found || got != 0 {
			t.Errorf("%s is %v (found: %v), want 0", sample, got, found)
		}
	}
	for _, sample := range []string{"platform_slots", "queue_wait_seconds_count", "service_seconds_count"} {
		if after["sgx_quote_helper_"+sample] == 0 {
			t.Errorf("%s is 0 or missing", sample)
		}
	}
}

// TestHelperUpdate checks that no request fails while one helper takes the socket over
// from another, and that one takes it back.
func TestHelperUpdate(t *testing.T) {
	const clients = 20
	base := chartValues(t)
	t.Cleanup(func() { install(t, base); waitRollout(t, helper) })
	loadImage(t, helper, "e2e")
	socketDir := inode(t, aesmDir)
	startClients(t, clients)

	updates := [][]string{{"quoteHelper.image.tag=e2e"}, nil}
	for _, values := range updates {
		before := daemonPod(t, helper)
		install(t, base, values...)
		after := daemonPod(t, helper)
		kubectl(t, "-n", namespace, "wait", "pod/"+before, "--for=delete", "--timeout=60s")
		if before == after {
			t.Errorf("the update did not replace the helper %s", after)
		}
		if quotes := metrics(t, helper)[`sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteEx"}`]; quotes == 0 {
			t.Errorf("%s has produced no quotes", after)
		}
	}

	var requests uint64
	var slowest float64
	for _, result := range endClients(t, clients) {
		if result.Failed != 0 || result.Requests == 0 || result.Latency == nil {
			t.Errorf("a client failed: %+v", result)
			continue
		}
		requests += result.Requests
		slowest = max(slowest, result.Latency.Max)
	}
	t.Logf("%d quotes in %d updates, the slowest in %.3f s", requests, len(updates), slowest)
	if got := inode(t, aesmDir); got != socketDir {
		t.Errorf("the update replaced the directory %s", aesmDir)
	}
}

// TestUpstream tests the helper in front of another daemon: a second helper, which runs
// on this machine, the node.
func TestUpstream(t *testing.T) {
	upstream, ours := t.TempDir(), t.TempDir()
	log := startUpstream(t, filepath.Join(upstream, "aesm.socket"))
	upgrade(t, "platform=upstream", "upstream.dir="+upstream, "aesmDir="+ours, "nodes=all")
	waitRollout(t, helper)

	// The node has no EPC now, so the device plugin mounts nothing into the pod.
	spec := podSpec(confcom, nil, "quote", "get", "--pem", "--out=-")
	spec["restartPolicy"] = "Never"
	spec["volumes"] = []any{object{"name": "aesmd", "hostPath": object{"path": ours}}}
	spec["containers"].([]any)[0].(object)["volumeMounts"] = []any{object{"name": "aesmd", "mountPath": aesmDir}}
	enclave := getQuote(t, createPod(t, "default", "upstream", spec)).MREnclave
	for who, text := range map[string]string{"helper": helperLog(t), "daemon behind it": log(t)} {
		if !strings.Contains(text, hex.EncodeToString(enclave[:])) {
			t.Errorf("the %s has not logged the quote:\n%s", who, text)
		}
	}
}

// startClients starts a job with one client per pod. The clients request quotes without
// pause until endClients.
func startClients(t *testing.T, pods int) {
	t.Helper()
	startClientsOf(t, confcom, pods)
}

// startClientsOf does so with the image confcom of another registry.
func startClientsOf(t *testing.T, image string, pods int) {
	t.Helper()
	remove := func() {
		kubectl(t, "delete", "job", "clients", "--ignore-not-found", "--cascade=foreground", "--timeout=60s")
	}
	remove() // an interrupted run may have left it
	t.Cleanup(remove)
	// Together they leave half of a small machine to the cluster.
	limits := limits{resource: "1", "cpu": "25m", "memory": "64Mi"}
	spec := podSpec(image, limits, "bench", "--clients=1", "--duration=1h", "-o=json")
	spec["restartPolicy"] = "Never"
	create(t, object{"apiVersion": "batch/v1", "kind": "Job", "metadata": object{"name": "clients"}, "spec": object{
		"parallelism": pods, "completions": pods, "template": object{"spec": spec},
		"completionMode": "Indexed", "backoffLimitPerIndex": 0, // a failed client neither stops the others nor is retried
	}})
	kubectl(t, "wait", "job/clients", fmt.Sprintf("--for=jsonpath={.status.ready}=%d", pods), "--timeout=60s")
}

// clientResult is the report of a client.
type clientResult struct {
	Requests uint64
	Failed   uint64
	Failures []struct {
		Error string
		Count uint64
	}
	Latency *struct{ Max float64 } `json:"latencySeconds"`
}

// endClients interrupts the clients and returns their reports.
func endClients(t *testing.T, pods int) []clientResult {
	t.Helper()
	ids := kubectl(t, "get", "pods", "-l", "job-name=clients", "-o", "jsonpath={.items[*].status.containerStatuses[0].containerID}")
	for id := range strings.FieldsSeq(ids) {
		for _, process := range processesOf(t, containerID(id)) {
			if err := syscall.Kill(process, syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	kubectl(t, "wait", "pods", "-l", "job-name=clients", "--for=jsonpath={.status.containerStatuses[0].state.terminated}", "--timeout=60s")
	logs := json.NewDecoder(strings.NewReader(kubectl(t, "logs", "-l", "job-name=clients", "--tail=-1", "--max-log-requests", fmt.Sprint(pods))))
	var results []clientResult
	for {
		var result clientResult
		err := logs.Decode(&result)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	if len(results) != pods {
		t.Errorf("got %d reports of %d clients", len(results), pods)
	}
	return results
}

// quotingPod creates a pod that gets one quote, waits for it, and returns the pod and
// the enclave that the quote is of.
func quotingPod(t *testing.T, name string) (p pod, mrenclave string) {
	t.Helper()
	spec := podSpec(confcom, limits{resource: "1"}, "quote", "get", "--pem", "--out=-")
	spec["restartPolicy"] = "Never"
	p = createPod(t, "default", name, spec)
	body := getQuote(t, p)
	return p, hex.EncodeToString(body.MREnclave[:])
}

// getQuote waits until a pod has terminated and returns the report body of the quote in
// its log.
func getQuote(t *testing.T, p pod) *sgx.ReportBody {
	t.Helper()
	kubectl(t, "-n", p.namespace, "wait", "pod/"+p.name, "--for=jsonpath={.status.containerStatuses[0].state.terminated}", "--timeout=30s")
	log := kubectl(t, "-n", p.namespace, "logs", p.name)
	block, _ := pem.Decode([]byte(log))
	if block == nil {
		t.Fatalf("%s: no quote in the log:\n%s", p.name, log)
	}
	q, err := quote.Parse(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return q.Enclave
}

// logLine is a line of the helper's log.
type logLine struct {
	Msg       string
	Peer      logPeer
	MREnclave string
}

// logPeer identifies the client of a request.
type logPeer struct {
	Pod       string
	Container string
	PID, UID  int
}

func helperLog(t *testing.T) string {
	t.Helper()
	return kubectl(t, "-n", namespace, "logs", daemonPod(t, helper))
}

// lastQuote returns the last line about a quote for which wanted returns true.
func lastQuote(t *testing.T, wanted func(logLine) bool) (logLine, bool) {
	t.Helper()
	lines := slices.Collect(strings.Lines(helperLog(t)))
	for _, text := range slices.Backward(lines) {
		var line logLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if line.Msg == "quote" && wanted(line) {
			return line, true
		}
	}
	return logLine{}, false
}

// startUpstream starts a daemon on this machine that serves quotes on a socket until
// the end of the test. The returned function returns the daemon's log.
func startUpstream(t *testing.T, socket string) (log func(*testing.T) string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	command := exec.Command("bin/sgx-quote-helper", "--platform=simulated", "--socket="+socket, "--http-address=127.0.0.1:0")
	command.Dir = root
	command.Stderr = file
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	return func(t *testing.T) string {
		t.Helper()
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// startDaemon starts a program on this machine until stop, or the end of the test.
func startDaemon(t *testing.T, program string, args ...string) (stop func()) {
	t.Helper()
	command := exec.Command(program, args...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// loadImage loads the image of a program into the cluster again, under another tag.
func loadImage(t *testing.T, program, tag string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	run(t, "", "bin/cluster", "image", "build", "--tag", "localhost/confcom/"+program+":"+tag, "--output", file, "bin/"+program)
	run(t, "", "bin/cluster", "image", "load", file)
}

// inode returns the inode number of a directory. It differs from that of a directory
// created later at the same path.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}
