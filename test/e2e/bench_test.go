package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The benchmarks measure single events on the real kubelet, such as its restart: run
// them with -benchtime=1x, and with -count to repeat them. Ignore the time per
// operation that Go adds; the other metrics are the result.
//
// The test cluster's kubelet updates the status of its node every second if there is
// a change; with the kubelet's defaults it is every ten seconds.

// capacities are amounts of EPC, each with the mode in which it is advertised.
var capacities = []struct {
	mode     string
	size     string
	mib      int
	halvable bool // with half of it allocated, the kubelet restarts within minutes
	values   []string
}{
	{"devices", "8GiB", 8 << 10, true, []string{"simulatedEPC=8Gi", "epc.advertise=devices"}},
	{"devices", "32GiB", 32 << 10, true, []string{"simulatedEPC=32Gi", "epc.advertise=devices", "epc.maxDevices=32768"}},
	{"devices", "256GiB", 256 << 10, false, []string{"simulatedEPC=256Gi", "epc.advertise=devices", "epc.maxDevices=262144"}},
	{"node", "8GiB", 8 << 10, true, []string{"simulatedEPC=8Gi", "epc.advertise=node", "quoteHelper.maxSurge=0"}},
	{"node", "32GiB", 32 << 10, true, []string{"simulatedEPC=32Gi", "epc.advertise=node", "quoteHelper.maxSurge=0"}},
	{"node", "512GiB", 512 << 10, true, []string{"simulatedEPC=512Gi", "epc.advertise=node", "quoteHelper.maxSurge=0"}},
}

// BenchmarkAdvertise measures the time from the start of the programs until the EPC is
// allocatable on the node, and the plugin's memory then.
func BenchmarkAdvertise(b *testing.B) {
	base := restoreChart(b)
	for _, c := range capacities {
		b.Run(c.mode+"/"+c.size, func(b *testing.B) {
			for b.Loop() {
				install(b, base, "simulatedEPC=1Gi", "epc.advertise="+c.mode, "quoteHelper.maxSurge=0")
				if c.mode == "node" {
					forgetDevices(b)
				}
				waitAllocatable(b, resource, "1024")
				node := follow(b, "nodes", allocatable(resource))
				install(b, base, c.values...)
				reached := node.await(strconv.Itoa(c.mib))
				writer, message := "sgx-device-plugin", "registered with the kubelet"
				if c.mode == "node" {
					writer, message = "sgx-node-resource", "capacity changed"
				}
				b.ReportMetric(reached.Sub(logged(b, writer, "starting")).Seconds(), "s-from-start")
				b.ReportMetric(reached.Sub(logged(b, writer, message)).Seconds(), "s-from-advertise")
				b.ReportMetric(metrics(b, "sgx-device-plugin")["process_resident_memory_bytes"]/(1<<20), "MiB-RSS")
			}
		})
	}
}

// BenchmarkKubeletRestart kills the kubelet while four pods hold half of the EPC,
// starts it again, and measures the time from the kill until a pod with EPC runs that
// was created in between. A Deployment creates the pod, because a pod that the kubelet
// rejects before the device plugin has registered again is not retried.
func BenchmarkKubeletRestart(b *testing.B) {
	base := restoreChart(b)
	for _, c := range capacities {
		if !c.halvable {
			continue
		}
		b.Run(c.mode+"/"+c.size, func(b *testing.B) {
			install(b, base, c.values...)
			if c.mode == "node" {
				forgetDevices(b)
			}
			waitAllocatable(b, resource, strconv.Itoa(c.mib))
			for n := range 4 {
				newPod(b, "default", fmt.Sprint("half-", n), limits{resource: strconv.Itoa(c.mib / 8)}).waitReady(b)
			}
			for b.Loop() {
				killKubelet(b)
				killed := time.Now()
				restarted := make(chan error, 1)
				go func() {
					_, err := try(b, "", "bin/cluster", "restart", "kubelet")
					restarted <- err
				}()
				run(b, lateDeployment, "kubectl", "create", "-f", "-")
				late := follow(b, "deployment/late", "{.status.readyReplicas}")
				b.ReportMetric(late.await("1").Sub(killed).Seconds(), "s-to-new-pod")
				refused := kubectl(b, "get", "pods", "-l", "app=late", "--field-selector=status.phase=Failed", "-o", "name")
				b.ReportMetric(float64(strings.Count(refused, "\n")), "refused-pods")
				if err := <-restarted; err != nil {
					b.Fatal(err)
				}
				kubectl(b, "delete", "deployment", "late", "--cascade=foreground", "--timeout=60s")
			}
		})
	}
}

// restoreChart returns the values that the chart is installed with, and restores them
// after the benchmark.
func restoreChart(b *testing.B) string {
	base := chartValues(b)
	b.Cleanup(func() {
		install(b, base)
		forgetDevices(b) // those of all capacities
		waitAllocatable(b, resource, epc)
	})
	return base
}

const lateDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: late}
spec:
  selector: {matchLabels: {app: late}}
  template:
    metadata: {labels: {app: late}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: confcom.invalid/pause:local
        imagePullPolicy: Never
        resources: {limits: {` + resource + `: 10}}
`

// killKubelet kills the kubelet with SIGKILL, so that it cannot shut down gracefully.
func killKubelet(b *testing.B) {
	b.Helper()
	for line := range strings.Lines(run(b, "", "bin/cluster", "status")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "kubelet" {
			pid, err := strconv.Atoi(fields[1])
			if err != nil {
				b.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				b.Fatal(err)
			}
			return
		}
	}
	b.Fatal("cluster status lists no kubelet")
}

// watch receives the states of a part of an object.
type watch struct {
	b      *testing.B
	states chan state
}

// state is a state that kubectl reported, and the time of the report.
type state struct {
	text string
	at   time.Time
}

// follow starts to watch the part of an object at a JSONPath.
func follow(b *testing.B, object, path string) *watch {
	b.Helper()
	command := exec.Command("kubectl", "get", object, "--watch", "-o", "jsonpath="+path+`{"\n"}`)
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	w := &watch{b: b, states: make(chan state, 1000)} // more than the object changes
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			w.states <- state{lines.Text(), time.Now()}
		}
	}()
	b.Cleanup(func() {
		_ = command.Process.Kill()
		<-done
		_ = command.Wait() // fails because it was killed
	})
	return w
}

// await waits until the state is want, and returns the time of that.
func (w *watch) await(want string) time.Time {
	w.b.Helper()
	timeout := time.After(10 * time.Minute)
	for {
		select {
		case now := <-w.states:
			if now.text == want {
				return now.at
			}
		case <-timeout:
			w.b.Fatalf("the state did not become %q within 10 minutes", want)
		}
	}
}

// logged returns the time at which a daemon last logged a message.
func logged(b *testing.B, daemonSet, message string) time.Time {
	b.Helper()
	var last time.Time
	for line := range strings.Lines(kubectl(b, "-n", namespace, "logs", daemonPod(b, daemonSet))) {
		var entry struct {
			Time time.Time
			Msg  string
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			last = entry.Time
		}
	}
	if last.IsZero() {
		b.Fatalf("the log of %s lacks %q", daemonSet, message)
	}
	return last
}
