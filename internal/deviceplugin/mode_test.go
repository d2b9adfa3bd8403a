package deviceplugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// Every state, whatever the kubelet and its pods do.
func TestDecide(t *testing.T) {
	const (
		devices, closing, releasing, inNode = epc.StateDevices, epc.StateClosing, epc.StateReleasing, epc.StateNode
		started                             = epc.State("")
	)
	pods := func(n int) holders { return holders{count: n} }
	var (
		unused      = usage{}
		registered  = usage{registered: true}
		held        = usage{registered: true, devicePods: pods(1)}
		forgotten   = usage{devicePods: pods(1)} // the grace period has passed, but a pod has devices
		nodePods    = usage{nodePods: pods(1)}
		nodePodsReg = usage{registered: true, nodePods: pods(1)} // such as containers with the device alone
		both        = usage{devicePods: pods(1), nodePods: pods(1)}
	)
	for _, test := range []struct {
		state  epc.State
		usage  usage
		lasted time.Duration
		toNode epc.State // what follows if mode node is wanted
		toDevs epc.State // what follows if mode devices is wanted
	}{
		{started, unused, 0, inNode, devices},
		{started, registered, 0, closing, devices},
		{started, held, 0, devices, devices},
		{started, forgotten, 0, devices, devices},
		{started, nodePods, 0, inNode, inNode},
		{started, nodePodsReg, 0, closing, devices},
		{started, both, 0, devices, devices},

		{devices, unused, time.Hour, closing, devices},
		{devices, registered, time.Hour, closing, devices},
		{devices, held, time.Hour, devices, devices},
		{devices, forgotten, time.Hour, devices, devices},
		{devices, nodePods, time.Hour, closing, devices},
		{devices, both, time.Hour, devices, devices},

		{closing, registered, closingTime - 1, closing, devices},
		{closing, registered, closingTime, releasing, devices},
		{closing, unused, closingTime, releasing, devices},
		{closing, held, closingTime, devices, devices}, // a pod that was bound before
		{closing, nodePodsReg, closingTime, releasing, devices},

		{releasing, registered, time.Hour, releasing, devices},
		{releasing, unused, releaseTime - 1, releasing, devices},
		{releasing, unused, releaseTime, inNode, devices},
		{releasing, held, time.Hour, devices, devices}, // the pod's kubelet would refuse all others
		{releasing, forgotten, time.Hour, devices, devices},
		{releasing, nodePods, time.Hour, inNode, devices},

		{inNode, unused, time.Hour, inNode, devices},
		{inNode, nodePods, time.Hour, inNode, inNode},
		{inNode, both, time.Hour, inNode, inNode},
	} {
		for wanted, want := range map[epc.Mode]epc.State{epc.Node: test.toNode, epc.Devices: test.toDevs} {
			if got := decide(test.state, wanted, test.usage, test.lasted); got != want {
				t.Errorf("from %q after %s with %+v, wanted %s: %q, want %q", test.state, test.lasted, test.usage, wanted, got, want)
			}
		}
	}
}

// closesIn is how long state closing lasts if new pods are kept away at once: that is seen
// at the next poll.
const closesIn = kubeletPollInterval + closingTime

// switching is a mode switch in a test, with a kubelet that the test plays.
type switching struct {
	*modeSwitch
	t      *testing.T
	output *bytes.Buffer // of the log

	mu   sync.Mutex
	uses usage
	err  error
	// polls is how often the kubelet was polled.
	polls int
	// unacknowledged is whether no new pod is known to be kept away in state closing.
	unacknowledged bool
}

func (s *switching) acknowledge(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unacknowledged = !yes
}

func (s *switching) kubelet(u usage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses, s.err = u, err
}

// switchModes runs a mode switch in fake time, with 64 MiB of EPC.
func switchModes(t *testing.T, u usage, err error, test func(s *switching)) {
	t.Helper()
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		env, output := environment()
		p := newPlugin(simulate(64*node.MiB, ""), func(p *Plugin) { p.StateDir, p.DevicePluginDir = state, state })
		p.Resources.Enclave = true // as where nodes can be in either mode
		dir, dirErr := findDirectory(state)
		if dirErr != nil {
			t.Fatal(dirErr)
		}
		m := NewMetrics(prometheus.NewRegistry())
		all := endpoints{newEndpoint(p.Policy.Resource, dir, env, m), newEndpoint(p.Enclave, dir, env, m), newEndpoint(p.Provision, dir, env, m), newEndpoint(QuoteHelper, dir, env, m)}
		s := &switching{modeSwitch: newModeSwitch(p, all, env, m), t: t, output: output, uses: u, err: err}
		s.modeSwitch.usage = func(_ context.Context, forgotten bool) (usage, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.polls++
			u := s.uses
			if s.err != nil && forgotten {
				u.registered = false
			}
			return u, s.err
		}
		s.modeSwitch.acknowledged = func() (bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return !s.unacknowledged, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.run(ctx) })
		test(s)
		cancel()
		running.Wait()
	})
}

func (s *switching) setStateDir(dir string) {
	s.modeSwitch.mu.Lock()
	defer s.modeSwitch.mu.Unlock()
	s.plugin.StateDir = dir
}

// want changes the mode that the policy wants.
func (s *switching) want(mode epc.Mode) {
	s.t.Helper()
	inv, err := s.plugin.Machine.Discover()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.machine(s.t.Context(), inv, epc.Policy{Mode: mode}.For(inv)); err != nil {
		s.t.Fatal(err)
	}
}

// expect checks the state that is published, how many devices the kubelet gets, and
// whether the plugin is ready.
func (s *switching) expect(when string, state epc.State, mib int64, devices int, ready bool) {
	s.t.Helper()
	synctest.Wait()
	a, err := epc.ReadAdvertisement(s.plugin.StateDir)
	if err != nil && state != "" || a.State != state || a.MiB != mib {
		s.t.Errorf("%s: advertised %d MiB, state %q, error %v; want %d MiB, state %q", when, a.MiB, a.State, err, mib, state)
	}
	got := 0
	if supply, _ := s.endpoints.epc.current(); supply != nil {
		got = supply.devices
	}
	if got != devices {
		s.t.Errorf("%s: %d devices, want %d", when, got, devices)
	}
	if unmet := s.mode.Unmet(); (unmet == nil) != ready {
		s.t.Errorf("%s: readiness %v, want ready %t", when, unmet, ready)
	}
}

// A node that does not advertise all of its EPC says so.
func TestWithheld(t *testing.T) {
	switchModes(t, usage{}, nil, func(s *switching) {
		s.modeSwitch.mu.Lock()
		s.plugin.Policy.MaxDevices = 60
		s.modeSwitch.mu.Unlock()
		s.want(epc.Devices)
		s.expect("capped", epc.StateDevices, 60, 60, true)
		a, err := epc.ReadAdvertisement(s.plugin.StateDir)
		if err != nil || a.WithheldMiB != 4 || !strings.Contains(a.Message, "as devices of the kubelet, all but 4 MiB: ") {
			t.Errorf("advertisement %+v, error %v", a, err)
		}
	})
}

// A node goes from devices to node when its last pod with devices has ended and the
// kubelet has forgotten them.
func TestDevicesToNode(t *testing.T) {
	held := usage{registered: true, devicePods: holders{count: 10, names: []string{"a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "a/7", "a/8", "a/9"}}}
	switchModes(t, held, nil, func(s *switching) {
		s.want(epc.Devices)
		s.expect("devices", epc.StateDevices, 64, 64, true)
		s.want(epc.Node)
		s.expect("held", epc.StateDevices, 64, 64, true)
		time.Sleep(time.Hour)
		s.expect("an hour later", epc.StateDevices, 64, 64, true)
		a, err := epc.ReadAdvertisement(s.plugin.StateDir)
		if err != nil || !a.Held() || a.Pods != 10 || len(a.PodNames) != maxPodNames ||
			!strings.Contains(a.Message, "10 pods (a/1, a/2, a/3, a/4, a/5, a/6, a/7, a/8, …) hold such devices") || !strings.Contains(a.Message, "kubectl drain") {
			t.Errorf("advertisement %+v, error %v", a, err)
		}

		registered := usage{registered: true}
		s.kubelet(registered, nil)
		time.Sleep(kubeletPollInterval)
		s.expect("the last pod has ended", epc.StateClosing, 64, 64, true)
		time.Sleep(closesIn - kubeletPollInterval)
		s.expect("before the devices are withdrawn", epc.StateClosing, 64, 64, true)
		s.kubelet(held, nil)
		time.Sleep(kubeletPollInterval)
		s.expect("a pod that was bound before is admitted", epc.StateDevices, 64, 64, true)

		s.kubelet(registered, nil)
		time.Sleep(kubeletPollInterval + closesIn)
		s.expect("withdrawn", epc.StateReleasing, 0, 0, true)
		time.Sleep(10 * time.Minute)
		s.expect("the kubelet has restarted meanwhile", epc.StateReleasing, 0, 0, true)
		s.kubelet(usage{}, nil)
		time.Sleep(kubeletPollInterval)
		s.expect("the kubelet writes 0 once more", epc.StateReleasing, 0, 0, true)
		time.Sleep(releaseTime)
		s.expect("node", epc.StateNode, 64, 0, true)
		s.polls = 0
		time.Sleep(time.Hour)
		if s.polls > 0 {
			t.Errorf("polled the kubelet %d times in the mode that is wanted", s.polls)
		}

		s.kubelet(usage{nodePods: holders{1, []string{"a/one"}}}, nil)
		s.want(epc.Devices)
		s.expect("held in node", epc.StateNode, 64, 0, true)
		s.kubelet(usage{}, nil)
		time.Sleep(kubeletPollInterval)
		s.expect("devices at once", epc.StateDevices, 64, 64, true)
	})
}

// A plugin that starts finds out from the kubelet in which state the node is.
func TestStart(t *testing.T) {
	one := holders{count: 1}
	unknown := errors.Join(errNoUsage, errors.New("connection refused"))
	for _, test := range []struct {
		name    string
		usage   usage
		err     error
		wanted  epc.Mode
		state   epc.State
		mib     int64
		devices int
		ready   bool
	}{
		{"new node", usage{}, nil, epc.Node, epc.StateNode, 64, 0, true},
		{"new node, devices", usage{}, nil, epc.Devices, epc.StateDevices, 64, 64, true},
		{"soon after an uninstall in mode devices", usage{registered: true}, nil, epc.Node, epc.StateClosing, 64, 0, true},
		{"under pods with devices", usage{registered: true, devicePods: one}, nil, epc.Node, epc.StateDevices, 64, 64, true},
		{"under pods with devices that the kubelet has forgotten", usage{devicePods: one}, nil, epc.Node, epc.StateDevices, 64, 64, true},
		{"under pods in mode node", usage{nodePods: one}, nil, epc.Devices, epc.StateNode, 64, 0, true},
		{"nothing is known, devices", usage{}, unknown, epc.Devices, epc.StateDevices, 64, 64, true},
		{"nothing is known, node", usage{}, unknown, epc.Node, "", 0, 0, false},
		{"only the list of pods is known", usage{registered: true}, errors.New("no record"), epc.Node, epc.StateClosing, 64, 0, false},
		{"pods that may have ended", usage{registered: true, devicePods: one, stale: true}, nil, epc.Node, "", 0, 0, false},
		{"pods that may have ended in mode node", usage{nodePods: one, stale: true}, nil, epc.Devices, "", 0, 0, false},
		{"pods that may have ended, in the mode that is wanted", usage{registered: true, devicePods: one, stale: true}, nil, epc.Devices, epc.StateDevices, 64, 64, true},
		{"pods that may have ended and do not matter", usage{registered: true, nodePods: one, stale: true}, nil, epc.Node, epc.StateClosing, 64, 0, true},
		{"only the record is known", usage{registered: true, devicePods: one, stale: true}, errors.New("no list"), epc.Node, "", 0, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			switchModes(t, test.usage, test.err, func(s *switching) {
				s.want(test.wanted)
				s.expect("at the start", test.state, test.mib, test.devices, test.ready)
			})
		})
	}
}

// A plugin that starts on a record that may name pods that have ended has the kubelet write
// it again before it offers devices because of them: new pods would get some.
func TestStartOnStaleRecord(t *testing.T) {
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	held, again := holders{count: 1}, first.Add(time.Nanosecond)
	for _, test := range []struct {
		name    string
		stale   usage // of the first record
		wanted  epc.Mode
		after   time.Duration
		usage   usage // then
		err     error
		state   epc.State
		mib     int64
		devices int
	}{
		{"not yet written", usage{registered: true, devicePods: held}, epc.Node, uncertainTime - time.Second, usage{registered: true, devicePods: held, stale: true, written: first}, nil, "", 0, 0},
		{"the pods have ended", usage{registered: true, devicePods: held}, epc.Node, kubeletPollInterval, usage{registered: true, written: again}, nil, epc.StateClosing, 64, 0},
		{"the pods have ended, and the kubelet knows no devices", usage{devicePods: held}, epc.Node, kubeletPollInterval, usage{written: again}, nil, epc.StateNode, 64, 0},
		{"the list lacks pods, such as those with devices of init containers only", usage{registered: true, devicePods: held}, epc.Node, kubeletPollInterval, usage{registered: true, devicePods: held, stale: true, written: again}, nil, epc.StateDevices, 64, 64},
		{"the pods run", usage{registered: true, devicePods: held}, epc.Node, kubeletPollInterval, usage{registered: true, devicePods: held, written: first}, nil, epc.StateDevices, 64, 64},
		{"no list", usage{registered: true, devicePods: held}, epc.Node, uncertainTime - time.Second, usage{registered: true, devicePods: held, stale: true, written: again}, errors.New("no list"), "", 0, 0},
		{"the kubelet does not write", usage{registered: true, devicePods: held}, epc.Node, uncertainTime, usage{registered: true, devicePods: held, stale: true, written: first}, nil, epc.StateDevices, 64, 64},
		{"the pods in mode node have ended", usage{nodePods: held}, epc.Devices, kubeletPollInterval, usage{written: again}, nil, epc.StateDevices, 64, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.stale.stale, test.stale.written = true, first
			switchModes(t, test.stale, nil, func(s *switching) {
				s.want(test.wanted)
				s.expect("at the start", "", 0, 0, false)
				if supply, _ := s.endpoints.enclave.current(); supply == nil {
					t.Error("no resource is registered, so the kubelet does not write its record")
				}
				s.kubelet(test.usage, test.err)
				time.Sleep(test.after)
				s.expect("then", test.state, test.mib, test.devices, test.state != "")
			})
		})
	}
}

// A pod that ends while a plugin starts does not hold the node, although the kubelet has
// written its record since the plugin asked for the pods: the pod had not ended then.
func TestPodEndsDuringStart(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }
	for _, test := range []struct {
		name    string
		wanted  epc.Mode
		started usage // one pod runs, another one has ended
		ended   usage // the other pod has ended after the kubelet has written
		written usage // and the kubelet has written again
		state   epc.State
		devices int
	}{
		{"devices", epc.Node,
			usage{registered: true, devicePods: holders{2, []string{"a/one"}}, stale: true, written: at(1)},
			usage{registered: true, devicePods: holders{count: 1}, stale: true, written: at(2)},
			usage{registered: true, written: at(3)}, epc.StateClosing, 0},
		{"in the node's status", epc.Devices,
			usage{nodePods: holders{2, []string{"a/one"}}, stale: true, written: at(1)},
			usage{nodePods: holders{count: 1}, stale: true, written: at(2)},
			usage{written: at(3)}, epc.StateDevices, 64},
		{"a pod that is not listed, such as one with devices of an init container", epc.Node,
			usage{registered: true, devicePods: holders{2, []string{"a/one"}}, stale: true, written: at(1)},
			usage{registered: true, devicePods: holders{count: 2}, stale: true, written: at(2)},
			usage{registered: true, devicePods: holders{count: 1}, stale: true, written: at(3)}, epc.StateDevices, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			switchModes(t, test.started, nil, func(s *switching) {
				s.want(test.wanted)
				s.expect("at the start", "", 0, 0, false)
				s.kubelet(test.ended, nil)
				time.Sleep(2 * kubeletPollInterval)
				s.expect("after it has ended", "", 0, 0, false)
				s.kubelet(test.written, nil)
				time.Sleep(kubeletPollInterval)
				s.expect("then", test.state, 64, test.devices, true)
			})
		})
	}
}

// Without the kubelet's record, the devices are forgotten some time after they were
// withdrawn.
func TestNoRecord(t *testing.T) {
	switchModes(t, usage{}, nil, func(s *switching) {
		s.want(epc.Devices)
		time.Sleep(time.Hour)
		s.kubelet(usage{registered: true}, errors.New("another format"))
		s.want(epc.Node)
		time.Sleep(closesIn + kubeletPollInterval)
		s.expect("withdrawn", epc.StateReleasing, 0, 0, false)
		time.Sleep(5 * time.Minute)
		s.expect("the grace period has passed", epc.StateReleasing, 0, 0, false)
		time.Sleep(forgetTime - 5*time.Minute + releaseTime + kubeletPollInterval)
		s.expect("and a margin", epc.StateNode, 64, 0, true)
	})
}

// expectLogged checks how often a message is in the log.
func (s *switching) expectLogged(message string, want int) {
	s.t.Helper()
	synctest.Wait()
	s.modeSwitch.mu.Lock()
	defer s.modeSwitch.mu.Unlock()
	if got := strings.Count(s.output.String(), message); got != want {
		s.t.Errorf("logged %d times, want %d: %s", got, want, s.output)
	}
}

// Two faults at a time are logged once each, and again if they come back.
func TestFaultsAreLoggedOnce(t *testing.T) {
	const poll, advertise = "poll kubelet failed, retrying", "advertise EPC failed, retrying"
	switchModes(t, usage{registered: true, devicePods: holders{count: 1}}, nil, func(s *switching) {
		s.want(epc.Node)
		dir := s.plugin.StateDir
		for times := 1; times <= 2; times++ {
			s.kubelet(usage{registered: true, devicePods: holders{count: 1 + times}}, errors.New("away"))
			s.setStateDir(filepath.Join(dir, "absent"))
			time.Sleep(time.Hour)
			s.expectLogged(poll, times)
			s.expectLogged(advertise, times)
			s.kubelet(usage{registered: true, devicePods: holders{count: 1}}, nil)
			s.setStateDir(dir)
			time.Sleep(kubeletPollInterval)
			synctest.Wait()
		}
	})
}

// Devices are not withdrawn before new pods are kept away.
func TestCannotPublish(t *testing.T) {
	switchModes(t, usage{registered: true}, nil, func(s *switching) {
		s.want(epc.Devices)
		s.setStateDir(filepath.Join(s.plugin.StateDir, "absent"))
		inv, _ := s.plugin.Machine.Discover()
		err := s.machine(t.Context(), inv, epc.Policy{Mode: epc.Node}.For(inv))
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Hour)
		s.expect("an hour later", "", 0, 64, false)
		s.expectLogged("advertise EPC failed, retrying", 1)
		if err := os.Mkdir(s.plugin.StateDir, 0o755); err != nil {
			t.Fatal(err)
		}
		time.Sleep(kubeletPollInterval)
		s.expect("published", epc.StateClosing, 64, 64, true)
		time.Sleep(closesIn)
		s.expect("withdrawn", epc.StateReleasing, 0, 0, true)
	})
}

// Devices are not withdrawn before sgx-node-resource has written that there are none, but
// nor do they wait for it forever.
func TestAcknowledgement(t *testing.T) {
	for _, test := range []struct {
		name       string
		after      time.Duration // until the acknowledgement; negative for none
		lost       time.Duration // until it is lost, or 0
		withdrawal time.Duration
	}{
		{"at once", 0, 0, closesIn},
		{"later", 10 * time.Second, 0, 10*time.Second + closingTime},
		{"lost and made again", 0, 4 * time.Second, 14*time.Second + closingTime},
		{"never", -1, 0, acknowledgeTime + closingTime - kubeletPollInterval},
	} {
		t.Run(test.name, func(t *testing.T) {
			switchModes(t, usage{registered: true}, nil, func(s *switching) {
				s.want(epc.Devices)
				s.acknowledge(test.after == 0)
				s.want(epc.Node)
				began := time.Now()
				if test.after > 0 {
					time.Sleep(test.after - time.Millisecond)
					s.acknowledge(true)
				}
				if test.lost > 0 {
					time.Sleep(test.lost - time.Millisecond)
					s.acknowledge(false)
					time.Sleep(10 * time.Second)
					s.acknowledge(true)
				}
				time.Sleep(test.withdrawal - time.Since(began) - time.Millisecond)
				s.expect("before", epc.StateClosing, 64, 64, true)
				time.Sleep(kubeletPollInterval)
				s.expect("withdrawn", epc.StateReleasing, 0, 0, true)
			})
		})
	}
}

// The plugin sees the acknowledgement of its own file, and expects none of Node Feature
// Discovery.
func TestAcknowledged(t *testing.T) {
	p := newPlugin(func(p *Plugin) { p.StateDir = t.TempDir() })
	a := epc.Advertisement{Resource: p.Policy.Resource, DeviceResource: p.Enclave, State: epc.StateClosing, Wanted: epc.Node, PodNames: []string{}}
	if err := a.Write(p.StateDir); err != nil {
		t.Fatal(err)
	}
	expect := func(when string, want bool) {
		t.Helper()
		if got, err := p.acknowledged(); got != want || err != nil {
			t.Errorf("%s: acknowledged %t, error %v; want %t", when, got, err, want)
		}
	}
	expect("at first", false)
	acknowledgement, err := epc.Acknowledge(p.StateDir, a)
	if err != nil {
		t.Fatal(err)
	}
	expect("then", true)
	if err := acknowledgement.Release(); err != nil {
		t.Fatal(err)
	}
	expect("released", false)
	p.NFDDir = t.TempDir()
	expect("with Node Feature Discovery", true)
}

// A file that somebody has removed or replaced is written again, and so is one that could
// not be written for a while, whatever the state.
func TestPublishAgain(t *testing.T) {
	switchModes(t, usage{}, nil, func(s *switching) {
		s.want(epc.Node)
		file := filepath.Join(s.plugin.StateDir, epc.AdvertisementFile)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(kubeletPollInterval)
		s.expect("removed", epc.StateNode, 64, 0, true)
		other := *s.published
		other.State = epc.StateReleasing
		if err := other.Write(s.plugin.StateDir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(kubeletPollInterval)
		s.expect("replaced", epc.StateNode, 64, 0, true)

		dir := s.plugin.StateDir
		s.kubelet(usage{nodePods: holders{count: 1}}, nil)
		s.want(epc.Devices)
		s.setStateDir(filepath.Join(dir, "absent"))
		s.kubelet(usage{}, nil)
		time.Sleep(kubeletPollInterval)
		s.expect("not written", "", 0, 64, false)
		s.setStateDir(dir)
		time.Sleep(kubeletPollInterval)
		s.expect("written", epc.StateDevices, 64, 64, true)
	})
}

// A plugin that ends removes the file, but not that of another.
func TestUnpublish(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		var file string
		switchModes(t, usage{}, nil, func(s *switching) {
			s.want(epc.Node)
			file = filepath.Join(s.plugin.StateDir, epc.AdvertisementFile)
			if replaced {
				other := *s.published
				other.MiB++
				if err := other.Write(s.plugin.StateDir); err != nil {
					t.Fatal(err)
				}
			}
			s.unpublish()
		})
		if _, err := os.Stat(file); (err == nil) != replaced {
			t.Errorf("another plugin's file %t: %v", replaced, err)
		}
	}
}

// The kubelet is asked to write its record again when that may name pods that have ended,
// but not all the time.
func TestRewrite(t *testing.T) {
	switchModes(t, usage{registered: true, devicePods: holders{count: 1}, stale: true}, nil, func(s *switching) {
		s.want(epc.Devices)
		rewrites := 0
		_, changed := s.endpoints.enclave.current()
		s.want(epc.Node)
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			select {
			case <-changed:
				rewrites++
				_, changed = s.endpoints.enclave.current()
			default:
			}
		}
		if rewrites < 6 || rewrites > 7 {
			t.Errorf("%d rewrites in a minute, want 6 or 7", rewrites)
		}
		s.expect("held meanwhile", epc.StateDevices, 64, 64, true)
	})
}

// Without a writer of the node's status, nodes follow the policy at once.
func TestNoStatusWriter(t *testing.T) {
	switchModes(t, usage{nodePods: holders{count: 1}}, nil, func(s *switching) {
		s.setStateDir("")
		s.want(epc.Devices)
		if supply, _ := s.endpoints.epc.current(); supply == nil || supply.devices != 64 || s.polls > 0 {
			t.Errorf("supply %+v after %d polls of the kubelet", supply, s.polls)
		}
	})
}

// SGX that vanishes and returns changes nothing else.
func TestVanishes(t *testing.T) {
	switchModes(t, usage{}, nil, func(s *switching) {
		s.want(epc.Node)
		s.expect("at first", epc.StateNode, 64, 0, true)
		if err := s.machine(t.Context(), node.Inventory{}, epc.Capacity{}); err != nil {
			t.Fatal(err)
		}
		s.expect("without SGX", epc.StateNone, 0, 0, true)
		s.kubelet(usage{registered: true}, nil) // would be another state for a plugin that has just started
		s.want(epc.Node)
		s.expect("again", epc.StateNode, 64, 0, true)
	})
}

// A plugin that replaces another one in state closing takes its devices over until they
// are withdrawn.
func TestTakeOver(t *testing.T) {
	switchModes(t, usage{registered: true}, nil, func(s *switching) {
		s.serving = true
		s.want(epc.Node)
		s.expect("at the start", epc.StateClosing, 64, 64, true)
		time.Sleep(closesIn)
		s.expect("withdrawn", epc.StateReleasing, 0, 0, true)
	})
}

func TestHold(t *testing.T) {
	for want, h := range map[string]holders{
		"1 pod holds":            {count: 1},
		"2 pods hold":            {count: 2},
		"1 pod (a/one) holds":    {1, []string{"a/one"}},
		"2 pods (a/one, …) hold": {2, []string{"a/one"}},
		"9 pods (a/1, a/2, a/3, a/4, a/5, a/6, a/7, a/8, …) hold": {9, []string{"a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "a/7", "a/8", "a/9"}},
		"3 pods (a/1, a/2, hold/hold) hold":                       {3, []string{"a/1", "a/2", "hold/hold"}},
	} {
		if got := h.hold(); got != want {
			t.Errorf("%+v: %q, want %q", h, got, want)
		}
	}
}

func TestRecord(t *testing.T) {
	const epcResource, enclave = "example.com/epc", "example.com/enclave"
	entry := func(pod, resource string) string {
		return fmt.Sprintf(`{"PodUID": %q, "ContainerName": "c", "ResourceName": %q, "DeviceIDs": {"-1": ["0"]}, "AllocResp": "EgA="}`, pod, resource)
	}
	text := func(registered string, entries ...string) string {
		return `{"Data": {"PodDeviceEntries": [` + strings.Join(entries, ", ") + `], "RegisteredDevices": {` + registered + `}}, "Checksum": 123}`
	}
	const named = `"example.com/epc": ["0", "1"]`
	for _, test := range []struct {
		name, text string
		want       usage
		err        string
	}{
		{"no pods", `{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{"example.com/epc":[]}},"Checksum":1}`, usage{registered: true}, ""},
		{"nothing registered", text(""), usage{}, ""},
		{"another resource", text(`"example.com/other": ["0"]`, entry("a", "example.com/other")), usage{}, ""},
		{"pods of both kinds", text(named, entry("a", epcResource), entry("a", enclave), entry("a", epcResource), entry("b", enclave), entry("c", enclave)), usage{registered: true, devicePods: holders{count: 1}, nodePods: holders{count: 2}}, ""},
		{"more members", `{"Data": {"RegisteredDevices": {}, "Version": 3}, "More": 1}`, usage{}, ""},
		{"empty", "", usage{}, "unexpected end of JSON input"},
		{"no data", "{}", usage{}, "another format"},
		{"null", `{"Data": {"RegisteredDevices": null}}`, usage{}, "another format"},
		{"other names", `{"Data": {"Registered": {}}}`, usage{}, "another format"},
		{"no name of a pod", text(named, `{"Pod": "a", "ResourceName": "example.com/epc"}`), usage{}, "another format"},
		{"cut off", `{"Data": {"RegisteredDevices": {"exam`, usage{}, "unexpected end of JSON input"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := parseRecord([]byte(test.text))
			if err != nil || test.err != "" {
				if err == nil || test.err == "" || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			if got := r.usage(epcResource, enclave); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
	r, err := readRecord(t.TempDir())
	if err != nil || r.usage(epcResource, enclave).registered {
		t.Errorf("no record: %+v, error %v", r, err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"Data":{"PodDeviceEntries":[{"PodUID":"a","ResourceName":"example.com/epc"}],"RegisteredDevices":{"example.com/epc":["0"]}},"Checksum":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := parseRecord(text); err == nil {
			r.usage("example.com/epc", "example.com/enclave")
		}
	})
}

func TestMerge(t *testing.T) {
	u := usage{registered: true, devicePods: holders{count: 2}, nodePods: holders{count: 1}}
	got := u.merge(usage{devicePods: holders{1, []string{"a/one"}}, nodePods: holders{1, []string{"b/two"}}})
	if want := (usage{registered: true, devicePods: holders{2, []string{"a/one"}}, nodePods: holders{1, []string{"b/two"}}, stale: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
