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

// The benchmarks measure single events on the real kubelet, such as its restart:
// run them with -benchtime=1x and as often as wanted with -count. Their metrics
// are what counts, not the time for each operation that Go adds.
//
// The test cluster's kubelet writes the status of its node every second when
// there is something new; with the kubelet's defaults it is every ten.

// offers are amounts of EPC and the ways in which they are offered.
var offers = []struct {
	name     string
	mib      int
	halvable bool // with half of it in use, a restart ends within minutes
	values   []string
}{
	{"devices/8GiB", 8 << 10, true, []string{"simulatedEPC=8Gi", "epc.advertise=devices"}},
	{"devices/32GiB", 32 << 10, true, []string{"simulatedEPC=32Gi", "epc.advertise=devices", "epc.maxDevices=32768"}},
	{"devices/256GiB", 256 << 10, false, []string{"simulatedEPC=256Gi", "epc.advertise=devices", "epc.maxDevices=262144"}},
	{"node/8GiB", 8 << 10, true, []string{"simulatedEPC=8Gi", "epc.advertise=node", "quoteHelper.maxSurge=0"}},
	{"node/32GiB", 32 << 10, true, []string{"simulatedEPC=32Gi", "epc.advertise=node", "quoteHelper.maxSurge=0"}},
	{"node/512GiB", 512 << 10, true, []string{"simulatedEPC=512Gi", "epc.advertise=node", "quoteHelper.maxSurge=0"}},
}

// BenchmarkOffer measures from the start of the programs until the node has the
// EPC to give, and the memory that the plugin then has.
func BenchmarkOffer(b *testing.B) {
	base := restoreChart(b)
	for _, o := range offers {
		b.Run(o.name, func(b *testing.B) {
			for b.Loop() {
				way, _, _ := strings.Cut(o.name, "/")
				install(b, base, "simulatedEPC=1Gi", "epc.advertise="+way, "quoteHelper.maxSurge=0")
				if way == "node" {
					forgetDevices(b)
				}
				waitAllocatable(b, resource, "1024")
				node := follow(b, "nodes", allocatable(resource))
				install(b, base, o.values...)
				there := node.await(strconv.Itoa(o.mib))
				writer, message := "sgx-device-plugin", "registered with the kubelet"
				if way == "node" {
					writer, message = "sgx-node-resource", "capacity changed"
				}
				b.ReportMetric(there.Sub(logged(b, writer, "starting")).Seconds(), "s-from-start")
				b.ReportMetric(there.Sub(logged(b, writer, message)).Seconds(), "s-from-offer")
				b.ReportMetric(metrics(b, "sgx-device-plugin")["process_resident_memory_bytes"]/(1<<20), "MiB-RSS")
			}
		})
	}
}

// BenchmarkKubeletRestart kills the kubelet while four pods have half of the
// EPC, starts it again, and measures from the kill until a pod with EPC runs that
// was asked for meanwhile. It comes from a Deployment, since a kubelet refuses for
// good what it can't admit as long as it does not know the device plugin again.
func BenchmarkKubeletRestart(b *testing.B) {
	base := restoreChart(b)
	for _, o := range offers {
		if !o.halvable {
			continue
		}
		b.Run(o.name, func(b *testing.B) {
			install(b, base, o.values...)
			if strings.HasPrefix(o.name, "node") {
				forgetDevices(b)
			}
			waitAllocatable(b, resource, strconv.Itoa(o.mib))
			for n := range 4 {
				newPod(b, "default", fmt.Sprint("half-", n), limits{resource: strconv.Itoa(o.mib / 8)}).waitReady(b)
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

// restoreChart has the chart with the values of now again after the benchmark,
// and returns them.
func restoreChart(b *testing.B) string {
	base := chartValues(b)
	b.Cleanup(func() {
		install(b, base)
		forgetDevices(b) // of all that the benchmark has had
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

// killKubelet gives the kubelet no chance to end in good order.
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
	b.Fatal("the cluster has no kubelet")
}

// watch is what kubectl says of an object, with each change of it.
type watch struct {
	b      *testing.B
	states chan state
}

// state is what was said of an object, and when.
type state struct {
	text string
	at   time.Time
}

// follow begins to watch a part of an object.
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
	w := &watch{b: b, states: make(chan state, 1000)} // more than there are changes
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
		_ = command.Wait() // it says that it was killed
	})
	return w
}

// await waits until it is this, and returns when that was.
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
			w.b.Fatalf("waited in vain for %q", want)
		}
	}
}

// logged is when a daemon last logged a line with this message.
func logged(b *testing.B, daemonSet, message string) time.Time {
	b.Helper()
	var last time.Time
	for line := range strings.Lines(kubectl(b, "-n", namespace, "logs", daemon(b, daemonSet))) {
		var entry struct {
			Time time.Time
			Msg  string
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			last = entry.Time
		}
	}
	if last.IsZero() {
		b.Fatalf("%s has not logged %q", daemonSet, message)
	}
	return last
}
