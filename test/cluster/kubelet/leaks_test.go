//go:build kubelet

package kubelet

import (
	"testing"
	"time"
)

// usage is the resource usage of a process.
type usage struct {
	goroutines  int
	descriptors int
	rssKiB      int
}

func (p *plugin) usage() usage {
	return usage{
		goroutines:  int(p.metric("go_goroutines")),
		descriptors: p.descriptors(),
		rssKiB:      p.memory("VmRSS"),
	}
}

// TestNothingLeaks checks that the plugin uses no more after a thousand restarts of the
// kubelet than after the first ones.
func TestNothingLeaks(t *testing.T) {
	const (
		mib = 64
		// Go's heap becomes stable within the warm-up. After that it may grow by less
		// than 4 KiB per restart, which is less than one leaked connection.
		warmUp  = 100
		moreKiB = 3 << 10
	)
	restarts := 1000
	if testing.Short() {
		restarts = 200
	}
	k := startKubelet(t)
	p := startPlugin(t, "--simulate-epc=64Mi", "--resources=epc,enclave", "--http-address=127.0.0.1:0")
	began := time.Now()
	var before usage
	for n := range warmUp + restarts {
		if n == warmUp {
			before = p.usage()
		}
		k.restart()
		k.await(epc, all(mib))
		k.await(enclave, all(256))
	}
	t.Logf("%d restarts in %v", warmUp+restarts, time.Since(began).Round(time.Millisecond))

	// What belongs to the last kubelets may not have ended yet.
	after := p.usage()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); after = p.usage() {
		if after.goroutines <= before.goroutines && after.descriptors <= before.descriptors {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("before %+v, after %+v", before, after)
	if after.goroutines > before.goroutines {
		t.Errorf("%d goroutines, were %d", after.goroutines, before.goroutines)
	}
	if after.descriptors > before.descriptors {
		t.Errorf("%d descriptors, were %d", after.descriptors, before.descriptors)
	}
	if after.rssKiB > before.rssKiB+moreKiB {
		t.Errorf("%d KiB of memory, were %d", after.rssKiB, before.rssKiB)
	}
	if n := p.logged(msgRegistered); n > 2*(warmUp+restarts+1) {
		t.Errorf("registered %d times with %d kubelets", n, warmUp+restarts+1)
	}
	p.stop()
}
