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

// registeredWithin is how long a plugin may take to register after there is a
// kubelet to register with.
const registeredWithin = time.Second

// TestLosses: whatever makes the kubelet lose a plugin, the plugin registers
// again at once and just once, with a socket of its own that is the only one
// left, and with the devices that it had before.
func TestLosses(t *testing.T) {
	const mib = 64
	tests := []struct {
		name string
		// strike makes the kubelet lose the plugin and returns since when it
		// could register again.
		strike func(t *testing.T, k *kubelet, p *plugin) (since time.Time)
	}{
		{"kubelet restarts", func(t *testing.T, k *kubelet, _ *plugin) time.Time {
			k.restart()
			return socketTime(t)
		}},
		{"kubelet restarts before the old one is gone", func(t *testing.T, k *kubelet, _ *plugin) time.Time {
			old := k.manager
			// Its end would remove the socket of the new one.
			t.Cleanup(func() { _ = old.Stop(klog.Background()) })
			k.start()
			return socketTime(t)
		}},
		{"kubelet is away for long", func(t *testing.T, k *kubelet, p *plugin) time.Time {
			k.stop()
			p.await(saysLost)
			// Until the time between two looks has grown to more than the second.
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
			p.await(saysRegistered)
			if _, err := k.admit("before", 40, epc); err != nil {
				t.Fatal(err)
			}
			before := onlySocket(t)

			p.mark()
			since := test.strike(t, k, p)
			again := p.await(saysRegistered).Time.Sub(since)
			k.await(epc, all(mib))
			t.Logf("registered after %v", again)
			if again > registeredWithin {
				t.Errorf("registered after %v, want %v at most", again, registeredWithin)
			}
			if after := onlySocket(t); after == before {
				t.Errorf("the socket %s was used again", after)
			}
			if n := kubeletLog.registrations(epc); n != 2 {
				t.Errorf("%d registrations, want 2", n)
			}
			// What is left is just what was not given away before.
			if _, err := k.admit("after", mib-40, epc); err != nil {
				t.Errorf("the rest of the EPC: %v", err)
			}
			if _, err := k.admit("too much", 1, epc); err == nil {
				t.Error("more EPC was given than there is")
			}
			p.stop()
			k.await(epc, count{mib, 0})
			if left := pluginSockets(t); len(left) > 0 {
				t.Errorf("sockets left behind: %v", left)
			}
		})
	}
}

// TestKubeletKeepsEndingStreams: where the kubelet drops a plugin as soon as it
// has its devices, as kubelets before 1.37 may do with two plugins of one
// resource, the plugin tries again less and less often.
func TestKubeletKeepsEndingStreams(t *testing.T) {
	const (
		mib     = 64
		ends    = 5
		atLeast = 3 * time.Second // with 0.2 seconds each time it would be one
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

// TestKubeletEndsConnectionAtOnce: a kubelet that ends its connection before it
// has asked for the devices has a plugin without any. There is no stream whose
// end the plugin could see.
func TestKubeletEndsConnectionAtOnce(t *testing.T) {
	const mib = 64
	k := startKubelet(t)
	ended := make(chan struct{})
	kubeletLog.intercept("Connected to new client", func() {
		sockets, _ := findPluginSockets() // there is one
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

// TestNoPermission: whoever may not use the kubelet's directory is told so, and
// is let in as soon as they may.
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
			p.await(saysLost, "user 65534 "+test.want)

			change(0o777)
			if err := os.Chmod(kubeletSocket, 0o777); err != nil {
				t.Fatal(err)
			}
			k.await(epc, all(mib))
			p.stop()
		})
	}
}

// TestKubeletIsKilled: a kubelet that is killed leaves a socket that nobody
// answers at. The plugin waits for the next kubelet without much ado.
func TestKubeletIsKilled(t *testing.T) {
	const mib = 64
	k := startKubelet(t)
	k.stop()
	kill := startKubeletProcess(t)
	p := startPlugin(t, simulate(mib))
	p.await(saysRegistered)

	p.mark()
	kill()
	p.await(saysLost)
	if _, err := os.Lstat(kubeletSocket); err != nil {
		t.Errorf("the socket of the dead kubelet: %v", err)
	}
	p.await(saysLost, "connection refused")
	k.start()
	if again := p.await(saysRegistered).Time.Sub(socketTime(t)); again > registeredWithin {
		t.Errorf("registered after %v, want %v at most", again, registeredWithin)
	}
	k.await(epc, all(mib))
	if n := p.says(saysLost); n > 2 {
		t.Errorf("it said %d times that it is not registered, for two reasons", n)
	}
	p.stop()
}

// TestPluginIsKilled: the socket of a plugin that was killed is removed by the
// next, which takes its place.
func TestPluginIsKilled(t *testing.T) {
	const mib = 64
	k := startKubelet(t)
	killed := startPlugin(t, simulate(mib))
	k.await(epc, all(mib))
	stale := onlySocket(t)
	killed.kill()
	k.await(epc, count{mib, 0})
	if left := onlySocket(t); left != stale {
		t.Fatalf("%s is left, want %s", left, stale)
	}

	p := startPlugin(t, simulate(mib))
	p.await("removed a stale socket", stale)
	k.await(epc, all(mib))
	if onlySocket(t) == stale {
		t.Error("the stale socket is still there")
	}
	p.stop()
}

// TestPluginIsKilledAtAnyPoint kills plugins at random moments of their lives
// while kubelets come and go. Whatever they leave behind, the next plugin brings
// all EPC back.
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
		// The first half of the rounds looks at the start, which is quick.
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
		next.await(saysRegistered) // the kubelet may not know yet that the first is dead
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

// TestTwoPlugins: during a rollout there may be two plugins for one resource.
// The node's count is right all the time, whichever goes first, and they do not
// drive each other out.
func TestTwoPlugins(t *testing.T) {
	const mib = 64
	for _, firstToGo := range []string{"the older", "the newer"} {
		t.Run(firstToGo+" stops first", func(t *testing.T) {
			k := startKubelet(t)
			older := startPlugin(t, simulate(mib))
			k.await(epc, all(mib))
			counts := k.watch(epc)
			newer := startPlugin(t, simulate(mib))
			newer.await(saysRegistered)
			if n := len(pluginSockets(t)); n != 2 {
				t.Errorf("%d sockets, want one of each plugin", n)
			}

			// They share the node for longer than it takes to notice a loss.
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
				t.Errorf("%d registrations, want one of each plugin", n)
			}
			if n := older.says(saysLost) + newer.says(saysLost); n > 0 {
				t.Errorf("they lost their registration %d times", n)
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
		first.await(saysRegistered)
		second.await(saysRegistered)
		first.mark()
		second.mark()
		k.restart()
		first.await(saysRegistered)
		second.await(saysRegistered)
		k.await(epc, all(mib))
		time.Sleep(2 * time.Second) // see above
		if n := kubeletLog.registrations(epc); n != 4 {
			t.Errorf("%d registrations, want two of each plugin", n)
		}
		first.kill()
		second.stop()
		k.await(epc, count{mib, 0})
	})
}

// TestSlowKubelet: a kubelet that takes its time is waited for. One that takes
// too long is asked again, and its late answer to the first request does no harm.
func TestSlowKubelet(t *testing.T) {
	const mib = 64
	t.Run("answers late", func(t *testing.T) {
		k := startKubelet(t)
		putForwarder(t, func(int) time.Duration { return 5 * time.Second })
		p := startPlugin(t, simulate(mib))
		p.await(saysRegistered)
		k.await(epc, all(mib))
		if n := kubeletLog.registrations(epc); n != 1 || p.says(saysLost) > 0 {
			t.Errorf("%d registrations, want one without complaint", n)
		}
		p.stop()
	})
	t.Run("answers too late", func(t *testing.T) {
		if testing.Short() {
			t.Skip("it takes half a minute")
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
		p.await(saysLost)
		p.await(saysRegistered)
		k.await(epc, all(mib))
		counts := k.watch(epc)
		<-late
		time.Sleep(2 * time.Second) // for the kubelet to act on the late request
		if seen := counts(); !slices.Equal(seen, []count{all(mib)}) {
			t.Errorf("the node had %+v", seen)
		}
		if n := p.says(saysRegistered); n != 1 {
			t.Errorf("registered %d times, want once", n)
		}
		p.stop()
		k.await(epc, count{mib, 0})
	})
}
