//go:build kubelet

package kubelet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/klog/v2"
)

// The benchmarks measure single events, such as a start, so each iteration is one
// measurement: run them with -benchtime=1x and -count. Their results are in the custom
// metrics; the ns/op that Go adds includes the set-up.
//
// The kubelet's directory is in memory, so its checkpoint costs less than on a disk.

// advertisements are what the benchmarks advertise.
var advertisements = []struct {
	name     string
	args     []string
	resource string
	count    int64
}{
	{"8GiB/devices", []string{"--simulate-epc=8Gi", "--advertise=devices"}, epc, 8192},
	{"256GiB/devices", []string{"--simulate-epc=256Gi", "--advertise=devices", "--max-devices=262144"}, epc, 262144},
	{"256GiB/node", []string{"--simulate-epc=256Gi", "--advertise=node"}, enclave, 256},
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// BenchmarkStart measures the time from the start of the process until it has
// registered, the time from then until the node has the EPC, and the memory of the
// process.
func BenchmarkStart(b *testing.B) {
	for _, a := range advertisements {
		b.Run(a.name, func(b *testing.B) {
			for b.Loop() {
				k := startKubelet(b)
				p := startPlugin(b, a.args...)
				registered := p.await(msgRegistered).Time
				k.await(a.resource, all(a.count))
				allocatable := time.Now()
				b.ReportMetric(milliseconds(registered.Sub(p.started)), "ms-to-registered")
				b.ReportMetric(milliseconds(max(0, allocatable.Sub(registered))), "ms-to-allocatable")
				b.ReportMetric(float64(p.stableRSS())/1024, "MiB-RSS")
				b.ReportMetric(float64(p.memory("VmHWM"))/1024, "MiB-peak-RSS")
				p.stop()
				k.stop()
			}
		})
	}
}

// stableRSS returns the resident memory once it has not changed for a second.
func (p *plugin) stableRSS() int {
	p.t.Helper()
	rss, since := 0, time.Now()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if now := p.memory("VmRSS"); now != rss {
			rss, since = now, time.Now()
		}
		if time.Since(since) > time.Second {
			break
		}
	}
	return rss
}

// BenchmarkKubeletRestart measures the times from the socket of a new kubelet until the
// plugin has registered and until the node has its EPC back, with half of it allocated
// to pods.
func BenchmarkKubeletRestart(b *testing.B) {
	for _, c := range []struct {
		advertisement int // index
		pods          int64
	}{
		{0, 4}, {0, 30}, {2, 4}, {2, 128},
	} {
		a := advertisements[c.advertisement]
		b.Run(fmt.Sprintf("%s/pods=%d", a.name, c.pods), func(b *testing.B) {
			for b.Loop() {
				k := startKubelet(b)
				p := startPlugin(b, a.args...)
				k.await(a.resource, all(a.count))
				each := a.count / 2 / c.pods
				if a.resource == enclave {
					each = 1 // share of the device, whatever the pod's EPC
				}
				for n := range c.pods {
					if _, err := k.admit(fmt.Sprint("pod-", n), each, a.resource); err != nil {
						b.Fatal(err)
					}
				}
				p.mark()
				k.restart()
				since := socketTime(b)
				registered := p.await(msgRegistered).Time
				k.await(a.resource, all(a.count))
				b.ReportMetric(milliseconds(time.Since(since)), "ms-to-allocatable")
				b.ReportMetric(milliseconds(registered.Sub(since)), "ms-to-registered")
				p.stop()
				k.stop()
			}
		})
	}
}

// BenchmarkAllocate measures the plugin's response to a request for one container, over
// the plugin's socket.
func BenchmarkAllocate(b *testing.B) {
	const calls = 1000
	for _, mib := range []int{10, 10000} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			for b.Loop() {
				k := startKubelet(b)
				p := startPlugin(b, "--simulate-epc=16Gi", "--advertise=devices", "--max-devices=16384")
				k.await(epc, all(16384))
				client := dial(b, onlySocket(b))
				var ids []string
				for id := range k.manager.GetAllocatableDevices(klog.Background())[epc] {
					ids = append(ids, id)
				}
				r := request(ids[:mib])
				latencies := make([]time.Duration, calls)
				for n := range latencies {
					began := time.Now()
					if _, err := client.Allocate(b.Context(), r); err != nil {
						b.Fatal(err)
					}
					latencies[n] = time.Since(began)
				}
				slices.Sort(latencies)
				b.ReportMetric(milliseconds(latencies[calls/2]), "ms-p50")
				b.ReportMetric(milliseconds(latencies[calls*99/100]), "ms-p99")
				p.stop()
				k.stop()
			}
		})
	}
}
