package deviceplugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// A node follows the mode that its policy wants only when that costs no pod. The kubelet
// refuses pods with EPC while it knows EPC as devices and has none to allocate, and it
// forgets devices only some time after the plugin has withdrawn them and the last pod that
// held them has ended. See docs/concepts/changing-modes.md.
const (
	// kubeletPollInterval is the time between two polls of the kubelet, while the node is not in
	// the mode that is wanted.
	kubeletPollInterval = 2 * time.Second
	// closingTime is how long a node has no allocatable EPC before its devices are
	// withdrawn, so that the kubelet has admitted all pods that were bound before.
	closingTime = 6 * time.Second
	// acknowledgeTime is how long the plugin waits until sgx-node-resource has written
	// that no EPC is allocatable. Without it, a pod may be bound too late.
	acknowledgeTime = 30 * time.Second
	// releaseTime is how long the kubelet's record must have been without the devices
	// before EPC is advertised in the node's status. The kubelet writes the record before
	// it writes 0 into that status for the last time.
	releaseTime = 4 * time.Second
	// forgetTime is when the kubelet has forgotten withdrawn devices if its record cannot
	// be read: its grace period of 5 minutes, and a margin.
	forgetTime = 5*time.Minute + 30*time.Second
	// rewriteInterval is the time between two requests that the kubelet writes its
	// record again, because it may name pods that have ended.
	rewriteInterval = 10 * time.Second
	// uncertainTime is how long a plugin that starts waits for the kubelet to write its
	// record, before it decides by one that may name pods that have ended.
	uncertainTime = 30 * time.Second
	// maxPodNames is how many of the pods that keep a node from changing are named.
	maxPodNames = 8
)

// decide returns the state that follows s, in which the node has been for some time. The
// zero state is that of a plugin that has just started. The mode that is wanted is Devices
// or Node.
func decide(s epc.State, wanted epc.Mode, u usage, lasted time.Duration) epc.State {
	if wanted == epc.Devices {
		inNodeMode := s == epc.StateNode || s == "" && !u.registered && u.devicePods.count == 0
		if inNodeMode && u.nodePods.count > 0 {
			return epc.StateNode
		}
		return epc.StateDevices
	}
	switch {
	case s == epc.StateNode:
		return epc.StateNode
	case u.devicePods.count > 0:
		return epc.StateDevices
	case s == "" && !u.registered:
		return epc.StateNode
	case s == "" || s == epc.StateDevices:
		return epc.StateClosing
	case s == epc.StateClosing && lasted < closingTime:
		return epc.StateClosing
	case s == epc.StateClosing:
		return epc.StateReleasing
	case u.registered || lasted < releaseTime:
		return epc.StateReleasing
	default:
		return epc.StateNode
	}
}

// drain is what to do about a node that pods keep from changing.
const drain = "if the node is never without one, drain it with 'kubectl drain --ignore-daemonsets', wait until this condition has another reason, and 'kubectl uncordon' it"

// errUndecided is why a plugin that starts advertises no EPC.
var errUndecided = errors.New("wait until the kubelet has written its record of devices, which may name pods that have ended")

// modeSwitch decides how the node advertises its EPC, and has the endpoints do it.
type modeSwitch struct {
	plugin    *Plugin
	endpoints endpoints
	usage     func(ctx context.Context, forgotten bool) (usage, error) // of the kubelet
	// acknowledged reports whether sgx-node-resource has done what the file says.
	acknowledged func() (bool, error)
	log          *slog.Logger
	metrics      *Metrics
	mode         *daemon.Condition // met unless the mode that is wanted needs somebody's help

	mu         sync.Mutex
	discovered bool // whether inv and wanted are those of the machine
	inv        node.Inventory
	wanted     epc.Capacity

	state     epc.State // zero until the first decision
	since     time.Time // when the state began, or when what it waits for was last not so
	closed    time.Time // when state closing began
	kept      bool      // whether new pods were kept away at the last poll
	withdrawn time.Time // when the devices were withdrawn by this process, or when it started
	serving   bool      // whether this process, or the one that it replaces, has advertised EPC as devices
	rewritten time.Time // when the kubelet was last asked to write its record
	uncertain time.Time // when the first record was read, of a plugin that has just started
	recorded  time.Time // when the record was written that the kubelet has to replace
	listed    []string  // the pods that the kubelet listed when that record was read
	published *epc.Advertisement
	applied   bool              // whether the endpoints advertise what was last decided
	failed    bool              // whether the last step failed
	polled    error             // why the last poll of the kubelet failed
	logged    map[string]string // the errors that are logged, by message
}

func newModeSwitch(p *Plugin, all endpoints, env *daemon.Environment, m *Metrics) *modeSwitch {
	return &modeSwitch{
		plugin: p, endpoints: all, usage: p.kubeletUsage, acknowledged: p.acknowledged, log: env.Log, metrics: m,
		mode:      env.Health.Condition("mode"),
		withdrawn: time.Now(),
		logged:    make(map[string]string),
	}
}

// machine records what the machine has and what the policy advertises of it.
func (s *modeSwitch) machine(ctx context.Context, inv node.Inventory, wanted epc.Capacity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inv, s.wanted, s.discovered, s.applied = inv, wanted, true, false
	if err := s.step(ctx); err != nil {
		return err
	}
	if wanted.Mode == "" || s.state == epc.StateDevices || s.state == epc.StateNode {
		s.plugin.logCapacity(s.log, inv, s.capacity())
	}
	return nil
}

// run follows the kubelet and its pods until ctx is done.
func (s *modeSwitch) run(ctx context.Context) {
	ticker := time.NewTicker(kubeletPollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		if s.discovered && (!s.settled() || s.failed || !s.isPublished()) {
			err := s.step(ctx)
			if err != nil && ctx.Err() == nil {
				s.mode.Set(err)
			}
			s.logOnce(ctx, "advertise EPC failed, retrying", err)
		}
		s.mu.Unlock()
	}
}

// settled reports whether the node is in the mode that is wanted.
func (s *modeSwitch) settled() bool {
	switch s.wanted.Mode {
	case epc.Devices:
		return s.state == epc.StateDevices
	case epc.Node:
		return s.state == epc.StateNode
	}
	return true
}

// step decides and does what follows.
func (s *modeSwitch) step(ctx context.Context) (err error) {
	defer func() { s.failed = err != nil }()
	now := time.Now()
	before := s.state
	var u usage
	if s.wanted.Mode != "" && !s.settled() {
		u = s.poll(ctx, now)
	}
	if s.state != before {
		s.applied = false
	}
	if err := s.publish(u); err != nil {
		if s.state == epc.StateClosing {
			s.since, s.closed = now, now // nobody keeps new pods away yet
		}
		// The devices do not depend on who reads of them.
		return errors.Join(err, s.apply())
	}
	return s.apply()
}

// poll decides by what the kubelet and its pods do.
func (s *modeSwitch) poll(ctx context.Context, now time.Time) usage {
	if s.wanted.Mode == epc.Devices && !s.plugin.statusIsWritten() {
		s.enter(epc.StateDevices, now) // nothing else can advertise EPC here
		return usage{}
	}
	u, err := s.usage(ctx, now.Sub(s.withdrawn) >= forgetTime)
	s.polled = err
	s.logOnce(ctx, "poll kubelet failed, retrying", err)
	if errors.Is(err, errNoUsage) {
		if s.state == "" && s.wanted.Mode == epc.Devices {
			s.enter(epc.StateDevices, now)
		}
		return u // otherwise the state stays until more is known
	}
	if u.stale && now.Sub(s.rewritten) >= rewriteInterval {
		// The kubelet writes its record whenever it gets a list of devices.
		s.rewritten = now
		s.endpoints.epc.resend()
		s.endpoints.enclave.resend()
	}
	if s.state == epc.StateReleasing && u.registered || s.state == epc.StateClosing && !s.keepsAway(ctx, now) {
		s.since = now
	}
	next := decide(s.state, s.wanted.Mode, u, now.Sub(s.since))
	held := epc.Advertisement{State: next, Wanted: s.wanted.Mode}.Held()
	if s.state == "" && held && !s.certain(u, err, now) {
		return u
	}
	s.enter(next, now)
	return u
}

// certain reports whether a plugin that starts can decide that pods hold the node: the record
// names none that have ended. Otherwise it would offer devices because of them, and new pods
// would get some and hold the node. The record is as it should be if the kubelet has written
// it since it was asked for its pods. It does so when a resource is registered. A pod that
// was listed then and is not now has ended meanwhile, maybe after the kubelet has written:
// the kubelet has to write once more.
//
// A pod that is ending when the plugin starts counts, as the kubelet lists it until it has
// ended. To wait for such a pod would be to wait for each pod of the node.
func (s *modeSwitch) certain(u usage, err error, now time.Time) bool {
	if s.uncertain.IsZero() {
		s.uncertain = now
	}
	listed := slices.Concat(u.devicePods.names, u.nodePods.names)
	switch {
	case !u.stale || now.Sub(s.uncertain) >= uncertainTime:
		return true
	case err != nil: // the pods are not known
		return false
	case s.recorded.IsZero() || slices.ContainsFunc(s.listed, func(name string) bool { return !slices.Contains(listed, name) }):
		s.recorded, s.listed = u.written, listed
	}
	return !u.written.Equal(s.recorded)
}

// keepsAway reports whether new pods have been kept away from a node in state closing since
// the last poll, or nobody can be expected any more to do that.
func (s *modeSwitch) keepsAway(ctx context.Context, now time.Time) bool {
	if now.Sub(s.closed) >= acknowledgeTime {
		return true
	}
	acknowledged, err := s.acknowledged()
	s.logOnce(ctx, "see acknowledgement failed, retrying", err)
	before := s.kept
	s.kept = acknowledged
	return before && acknowledged
}

func (s *modeSwitch) enter(state epc.State, now time.Time) {
	if state == s.state {
		return
	}
	if s.state == epc.StateClosing || s.state == epc.StateDevices {
		s.withdrawn = now
	}
	if state == epc.StateClosing {
		s.closed, s.kept = now, false
	}
	s.state, s.since = state, now
}

// capacity returns what is advertised in the current state.
func (s *modeSwitch) capacity() epc.Capacity {
	if s.wanted.Mode == "" {
		return s.wanted
	}
	policy := s.plugin.Policy
	switch s.state {
	case epc.StateDevices, epc.StateClosing:
		policy.Mode = epc.Devices
		return s.plugin.allowed(policy.For(s.inv))
	case epc.StateNode:
		policy.Mode = epc.Node
		return policy.For(s.inv)
	}
	policy.Mode = epc.Node
	c := policy.For(s.inv)
	c.MiB, c.WithheldMiB, c.Why = 0, c.MiB, "the kubelet has not yet released EPC as devices"
	return c
}

// apply has the endpoints advertise what the state says.
func (s *modeSwitch) apply() error {
	if s.applied {
		return nil
	}
	c := s.capacity()
	s.metrics.observe(s.inv, c)
	if s.wanted.Mode != "" && s.state == "" {
		// Undecided. The other resources are the same in each mode, and have the kubelet
		// write its record.
		err := s.plugin.advertise(s.endpoints, s.inv, c, false)
		s.applied = err == nil
		return err
	}
	// A plugin that starts in state closing takes the devices over from one that still
	// runs. Otherwise nobody has any, and the pods that wait must not get some.
	s.serving = s.serving || s.state == epc.StateDevices
	err := errors.Join(s.plugin.advertise(s.endpoints, s.inv, c, s.serving), writeFeatureFile(s.plugin.NFDDir, c))
	s.applied = err == nil
	return err
}

// publish writes the state for those who take part, if it has changed, and reports it.
func (s *modeSwitch) publish(u usage) error {
	if s.wanted.Mode != "" && s.state == "" {
		s.mode.Set(cmp.Or(s.polled, errUndecided))
		return nil
	}
	a := s.advertisement(u)
	switch {
	case s.polled != nil && !s.settled():
		s.mode.Set(s.polled)
	case s.settled():
		s.mode.Set(nil)
	default:
		s.mode.Note(errors.New(a.Message))
	}
	if s.published != nil && s.published.Equal(a) && s.isPublished() {
		return nil
	}
	if s.plugin.StateDir != "" {
		if err := writeAdvertisement(s.plugin.StateDir, a); err != nil {
			return err
		}
	}
	s.metrics.observeState(a)
	changed := s.published != nil && (s.published.State != a.State || s.published.Held() != a.Held())
	if changed || !s.settled() && s.published == nil {
		s.log.Info("EPC state", "state", a.State, "wanted", a.Wanted, "pods", a.Pods, "message", a.Message)
	}
	s.published = &a
	return nil
}

func writeAdvertisement(dir string, a epc.Advertisement) error {
	return nameFile(filepath.Join(dir, epc.AdvertisementFile), a.Write(dir))
}

// unpublish removes the file, so that it tells nothing of this node once confcom is
// uninstalled, unless somebody else has written it.
func (s *modeSwitch) unpublish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plugin.StateDir == "" || s.published == nil || !s.isPublished() {
		return
	}
	if err := os.Remove(filepath.Join(s.plugin.StateDir, epc.AdvertisementFile)); err != nil {
		s.log.Warn("remove advertisement failed", "error", err)
	}
}

// isPublished reports whether the file says what was last published. Somebody may have
// removed it, and a plugin that this one replaces may have written it.
func (s *modeSwitch) isPublished() bool {
	if s.plugin.StateDir == "" || s.published == nil {
		return true
	}
	a, err := epc.ReadAdvertisement(s.plugin.StateDir)
	return err == nil && s.published.Equal(a)
}

// advertisement describes the current state.
func (s *modeSwitch) advertisement(u usage) epc.Advertisement {
	a := epc.Advertisement{
		Resource: s.plugin.Policy.Resource, DeviceResource: s.plugin.Enclave,
		State: s.state, Wanted: s.wanted.Mode, MiB: s.capacity().MiB, PodNames: []string{},
	}
	if s.wanted.Mode == "" {
		a.State, a.MiB = epc.StateNone, 0
		a.Message = "no EPC is advertised"
		if verdict := s.inv.Verdict(); !verdict.Ready {
			a.Message += ": " + verdict.Problem + ": " + verdict.Advice
		}
		return a
	}
	var pods holders
	if a.Held() {
		pods = u.devicePods
		if s.state == epc.StateNode {
			pods = u.nodePods
		}
		a.Pods, a.PodNames = pods.count, pods.names[:min(len(pods.names), maxPodNames)]
		if a.PodNames == nil {
			a.PodNames = []string{}
		}
	}
	switch {
	case a.State == epc.StateDevices && a.Held():
		a.Message = "EPC stays devices of the kubelet because " + pods.hold() + " such devices. It moves to the node's status once no pod does. New pods get such devices as well: " + drain
	case a.State == epc.StateDevices:
		a.Message = "EPC is advertised as devices of the kubelet"
		if c := s.capacity(); c.WithheldMiB > 0 {
			a.WithheldMiB = c.WithheldMiB
			a.Message += fmt.Sprintf(", all but %d MiB: %s", c.WithheldMiB, c.Why)
		}
	case a.State == epc.StateClosing:
		a.Message = "no pod holds EPC as devices, which are withdrawn once no new pod can come: new pods with EPC wait"
	case a.State == epc.StateReleasing:
		a.Message = "the kubelet releases its EPC devices, which takes about 5 minutes: the node has no EPC until then, and new pods with EPC wait"
	case a.State == epc.StateNode && a.Held():
		a.Message = "EPC stays in the node's status because " + pods.hold() + " the enclave device without EPC devices. It becomes devices of the kubelet once no pod does. New pods hold it as well: " + drain
	case a.State == epc.StateNode:
		a.Message = "EPC is advertised in the node's status"
	}
	return a
}

// hold returns a clause whose verb takes what the pods hold.
func (h holders) hold() string {
	text := fmt.Sprintf("%d pods hold", h.count)
	if h.count == 1 {
		text = "1 pod holds"
	}
	if len(h.names) == 0 {
		return text
	}
	shown := h.names[:min(len(h.names), maxPodNames)]
	names := strings.Join(shown, ", ")
	if h.count > len(shown) {
		names += ", …"
	}
	return strings.Replace(text, " hold", " ("+names+") hold", 1)
}

// logOnce logs an error unless it was the last one with this message. With nil, the next
// one is logged.
func (s *modeSwitch) logOnce(ctx context.Context, message string, err error) {
	switch {
	case err == nil:
		delete(s.logged, message)
	case err.Error() != s.logged[message] && ctx.Err() == nil:
		s.logged[message] = err.Error()
		s.log.Warn(message, "error", err)
	}
}
