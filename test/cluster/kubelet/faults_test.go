//go:build kubelet

package kubelet

import (
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"
)

// registeredWithin bounds the time in which a plugin registers with a new kubelet.
const registeredWithin = time.Second

// TestReregistration checks that a plugin that the kubelet has lost for whatever reason
// registers again at once, and only once, with a new socket that is the only one left,
// and with the same devices.
func TestReregistration(t *testing.T) {
	const mib = 64
	tests := []struct {
		name string
		// lose makes the kubelet lose the plugin, and returns since when the plugin
		// could register again.
		lose func(t *testing.T, k *kubelet, p *plugin) (since time.Time)
	}{
		{"kubelet restarts", func(t *testing.T, k *kubelet, _ *plugin) time.Time {
			k.restart()
			return socketTime(t)
		}},
		{"kubelet restarts before the old one has ended", func(t *testing.T, k *kubelet, _ *plugin) time.Time {
			old := k.manager
			// Stopping it now would remove the socket of the new one.
			t.Cleanup(func() { _ = old.Stop(klog.Background()) })
			k.start()
			return socketTime(t)
		}},
		{"kubelet is down for long", func(t *testing.T, k *kubelet, p *plugin) time.Time {
			k.stop()
			p.await(msgNotRegistered)
			// Until the time between two attempts has grown beyond registeredWithin.
			time.Sleep(4 * time.Second)
			k.start()
			return socketTime(t)
		}},
		{"plugin is frozen while the kubelet restarts", func(_ *testing.T, k *kubelet, p *plugin) time.Time {
			p.signal(syscall.SIGSTOP)
			k.restart()
			k.restart()
			p.signal(syscall.SIGCONT)
			return time.Now()
		}},
		{"kubelet's socket is replaced", func(t *testing.T, _ *kubelet, _ *plugin) time.Time {
			putForwarder(t, func(int) time.Duration { return 0 })
			return socketTime(t)
		}},
		{"kubelet ends the stream", func(t *testing.T, k *kubelet, _ *plugin) time.Time {
			k.disconnect(epc, onlySocket(t))
			return time.Now()
		}},
		{"plugin's socket is removed", func(t *testing.T, _ *kubelet, _ *plugin) time.Time {
			if err := os.Remove(onlySocket(t)); err != nil {
				t.Fatal(err)
			}
			return time.Now()
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := startKubelet(t)
			p := startPlugin(t, simulate(mib))
			k.await(epc, all(mib))
			p.await(msgRegistered)
			if _, err := k.admit("before", 40, epc); err != nil {
				t.Fatal(err)
			}
			before := onlySocket(t)

			p.mark()
			since := test.lose(t, k, p)
			again := p.await(msgRegistered).Time.Sub(since)
			k.await(epc, all(mib))
			t.Logf("registered after %v", again)
			if again > registeredWithin {
				t.Errorf("registered after %v, want %v at most", again, registeredWithin)
			}
			if after := onlySocket(t); after == before {
				t.Errorf("the socket %s was reused", after)
			}
			if n := kubeletLog.registrations(epc); n != 2 {
				t.Errorf("%d registrations, want 2", n)
			}
			// Only what was not allocated before can be allocated now.
			if _, err := k.admit("after", mib-40, epc); err != nil {
				t.Errorf("the rest of the EPC: %v", err)
			}
			if _, err := k.admit("too much", 1, epc); err == nil {
				t.Error("more EPC was allocated than the node has")
			}
			p.stop()
			k.await(epc, count{mib, 0})
			if left := pluginSockets(t); len(left) > 0 {
				t.Errorf("sockets left behind: %v", left)
			}
		})
	}
}

// TestKubeletKeepsEndingStreams checks that a plugin retries at growing intervals if the
// kubelet drops it whenever it has sent its devices, as kubelets before 1.37 may do with
// two plugins of one resource.
func TestKubeletKeepsEndingStreams(t *testing.T) {
	const (
		mib     = 64
		ends    = 5
		atLeast = 3 * time.Second // a constant 0.2 seconds would add up to one
	)
	k := startKubelet(t)
	p := startPlugin(t, simulate(mib))
	began := time.Now()
	for range ends {
		k.await(epc, all(mib))
		k.disconnect(epc, onlySocket(t))
	}
	k.await(epc, all(mib))
	took := time.Since(began)
	t.Logf("%d registrations in %v", ends, took)
	if took < atLeast {
		t.Errorf("%d registrations in %v, want %v at least", ends, took, atLeast)
	}
	if n := kubeletLog.registrations(epc); n != ends+1 {
		t.Errorf("%d registrations, want %d", n, ends+1)
	}
	p.stop()
}

// TestKubeletEndsConnectionAtOnce checks that a plugin recovers if the kubelet closes its
// connection before it has requested the devices. Then the node has no devices, and no
// stream of which the plugin could see the end.
func TestKubeletEndsConnectionAtOnce(t *testing.T) {
	const mib = 64
	k := startKubelet(t)
	ended := make(chan struct{})
	kubeletLog.intercept("Connected to new client", func() {
		sockets, _ := findPluginSockets() // exactly one
		for _, socket := range sockets {
			k.disconnect(epc, socket)
		}
		close(ended)
	})
	p := startPlugin(t, simulate(mib))
	<-ended
	k.await(epc, all(mib))
	p.stop()
}

// TestNoPermission checks that a plugin without permission for the kubelet's directory
// logs so, and registers as soon as it has permission.
func TestNoPermission(t *testing.T) {
	const (
		nobody = 65534
		mib    = 64
	)
	tests := []struct {
		name string
		mode os.FileMode // of the kubelet's directory, which belongs to root
		want string
	}{
		{"to search", 0o700, "may not search the directory, which belongs to root"},
		{"to write", 0o755, "may not write to the directory, which belongs to root"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := startKubelet(t)
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			change := func(mode os.FileMode) {
				t.Helper()
				if err := os.Chmod(dir, mode); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { change(info.Mode().Perm()) })
			change(test.mode)
			p := startPluginAs(t, nobody, simulate(mib))
			p.await(msgNotRegistered, "user 65534 "+test.want)

			change(0o777)
			if err := os.Chmod(kubeletSocket, 0o777); err != nil {
				t.Fatal(err)
			}
			k.await(epc, all(mib))
			p.stop()
		})
	}
}

// TestKubeletIsKilled checks that a plugin waits for the next kubelet when one was
// killed and has left its socket behind, and that it logs each reason once.
func TestKubeletIsKilled(t *testing.T) {
	const mib = 64
	k := startKubelet(t)
	k.stop()
	kill := startKubeletProcess(t)
	p := startPlugin(t, simulate(mib))
	p.await(msgRegistered)

	p.mark()
	kill()
	p.await(msgNotRegistered)
	if _, err := os.Lstat(kubeletSocket); err != nil {
		t.Errorf("the socket of the dead kubelet: %v", err)
	}
	p.await(msgNotRegistered, "connection refused")
	k.start()
	if again := p.await(msgRegistered).Time.Sub(socketTime(t)); again > registeredWithin {
		t.Errorf("registered after %v, want %v at most", again, registeredWithin)
	}
	k.await(epc, all(mib))
	if n := p.logged(msgNotRegistered); n > 2 {
		t.Errorf("%q was logged %d times for two reasons", msgNotRegistered, n)
	}
	p.stop()
}

// TestPluginIsKilled checks that a plugin removes the socket that its predecessor has
// left when it was killed.
func TestPluginIsKilled(t *testing.T) {
	const mib = 64
	k := startKubelet(t)
	killed := startPlugin(t, simulate(mib))
	k.await(epc, all(mib))
	stale := onlySocket(t)
	killed.kill()
	k.await(epc, count{mib, 0})
	if left := onlySocket(t); left != stale {
		t.Fatalf("socket %s remains, want %s", left, stale)
	}

	p := startPlugin(t, simulate(mib))
	p.await("removed stale socket", stale)
	k.await(epc, all(mib))
	if onlySocket(t) == stale {
		t.Error("the stale socket still exists")
	}
	p.stop()
}

// TestPluginIsKilledAtAnyPoint kills plugins at random times while the kubelet restarts
// again and again, and checks that the next plugin restores all EPC whatever they leave
// behind.
func TestPluginIsKilledAtAnyPoint(t *testing.T) {
	const mib = 64
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	k := startKubelet(t)
	for round := range rounds {
		// The first half of the rounds kills during the start, which is quick.
		most := 40 * time.Millisecond
		if round > rounds/2 {
			most = 400 * time.Millisecond
		}
		p := startPlugin(t, simulate(mib))
		dead := make(chan struct{})
		time.AfterFunc(time.Duration(random.Int64N(int64(most))), func() {
			defer close(dead)
			p.kill()
		})
		for alive := true; alive; {
			k.restart()
			select {
			case <-time.After(time.Duration(random.Int64N(int64(most)))):
			case <-dead:
				alive = false
			}
		}

		next := startPlugin(t, simulate(mib))
		next.await(msgRegistered) // the kubelet may not have noticed yet that the first is dead
		k.await(epc, all(mib))
		onlySocket(t)
		if round%2 == 0 {
			next.kill()
		} else {
			next.stop()
		}
		k.await(epc, count{mib, 0})
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// TestTwoPlugins checks that two plugins of one resource, as during a rollout, do not
// displace each other, and that the node's count is right at any time, whichever of them
// stops first.
func TestTwoPlugins(t *testing.T) {
	const mib = 64
	for _, firstToGo := range []string{"the older", "the newer"} {
		t.Run(firstToGo+" stops first", func(t *testing.T) {
			k := startKubelet(t)
			older := startPlugin(t, simulate(mib))
			k.await(epc, all(mib))
			counts := k.watch(epc)
			newer := startPlugin(t, simulate(mib))
			newer.await(msgRegistered)
			if n := len(pluginSockets(t)); n != 2 {
				t.Errorf("%d sockets, want one per plugin", n)
			}

			// Longer than a plugin takes to notice that it was dropped.
			time.Sleep(2 * time.Second)
			goes, stays := older, newer
			if firstToGo == "the newer" {
				goes, stays = newer, older
			}
			goes.stop()
			time.Sleep(time.Second)
			if seen := counts(); !slices.Equal(seen, []count{all(mib)}) {
				t.Errorf("the node had %+v", seen)
			}
			if _, err := k.admit("pod", mib, epc); err != nil {
				t.Errorf("all EPC from the plugin that stays: %v", err)
			}
			if n := kubeletLog.registrations(epc); n != 2 {
				t.Errorf("%d registrations, want one per plugin", n)
			}
			if n := older.logged(msgNotRegistered) + newer.logged(msgNotRegistered); n > 0 {
				t.Errorf("%d lost registrations, want none", n)
			}

			k.restart()
			k.await(epc, all(mib))
			stays.stop()
			k.await(epc, count{mib, 0})
			if n := kubeletLog.registrations(epc); n != 3 {
				t.Errorf("%d registrations after the kubelet's restart, want 3", n)
			}
		})
	}
	t.Run("kubelet restarts", func(t *testing.T) {
		k := startKubelet(t)
		first := startPlugin(t, simulate(mib))
		second := startPlugin(t, simulate(mib))
		first.await(msgRegistered)
		second.await(msgRegistered)
		first.mark()
		second.mark()
		k.restart()
		first.await(msgRegistered)
		second.await(msgRegistered)
		k.await(epc, all(mib))
		time.Sleep(2 * time.Second) // as above
		if n := kubeletLog.registrations(epc); n != 4 {
			t.Errorf("%d registrations, want two per plugin", n)
		}
		first.kill()
		second.stop()
		k.await(epc, count{mib, 0})
	})
}

// TestSlowKubelet checks that a plugin waits for a slow kubelet. It retries with one that
// is too slow, and the late response to its first request does no harm.
func TestSlowKubelet(t *testing.T) {
	const mib = 64
	t.Run("responds late", func(t *testing.T) {
		k := startKubelet(t)
		putForwarder(t, func(int) time.Duration { return 5 * time.Second })
		p := startPlugin(t, simulate(mib))
		p.await(msgRegistered)
		k.await(epc, all(mib))
		if n := kubeletLog.registrations(epc); n != 1 || p.logged(msgNotRegistered) > 0 {
			t.Errorf("%d registrations, want 1 and no warning", n)
		}
		p.stop()
	})
	t.Run("responds too late", func(t *testing.T) {
		if testing.Short() {
			t.Skip("takes half a minute")
		}
		k := startKubelet(t)
		late := make(chan struct{})
		putForwarder(t, func(n int) time.Duration {
			if n > 0 {
				return 0
			}
			time.AfterFunc(20*time.Second, func() { close(late) })
			return 20 * time.Second
		})
		p := startPlugin(t, simulate(mib))
		p.await(msgNotRegistered)
		p.await(msgRegistered)
		k.await(epc, all(mib))
		counts := k.watch(epc)
		<-late
		time.Sleep(2 * time.Second) // for the kubelet to act on the late request
		if seen := counts(); !slices.Equal(seen, []count{all(mib)}) {
			t.Errorf("the node had %+v", seen)
		}
		if n := p.logged(msgRegistered); n != 1 {
			t.Errorf("registered %d times, want once", n)
		}
		p.stop()
		k.await(epc, count{mib, 0})
	})
}
