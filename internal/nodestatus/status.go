package nodestatus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/nodeguard"
)

const (
	// pollInterval is the time between two polls of what is advertised. It is also the
	// time between two writes soon after a change: a kubelet that has begun to write the
	// status before may overwrite the number, and it repeats its own every 10 seconds.
	pollInterval = 500 * time.Millisecond
	settleTime   = 15 * time.Second
	// writeInterval is the time between two writes later. It is that of the kubelet's
	// lease, which costs the API server more: a write that changes nothing does not
	// reach its store.
	writeInterval = 10 * time.Second
	// policyInterval is the shortest time between two checks of the policy that adds the
	// device, and the time between two while it is missing.
	policyInterval = 5 * time.Second
	// messageInterval is the time between two writes of a condition of which only the
	// message changes, such as the names of pods.
	messageInterval = 30 * time.Second
	// heartbeatInterval is the time between two writes of a condition that does not change,
	// as for those of the kubelet.
	heartbeatInterval = 5 * time.Minute
	// minRetry and maxRetry bound the time after a write that failed.
	minRetry = time.Second
	maxRetry = time.Minute
	// writeTimeout bounds one write.
	writeTimeout = 10 * time.Second
)

// errNoAdvertisement is why nothing is written at first.
var errNoAdvertisement = errors.New("the device plugin has not yet written how EPC is advertised: check that it runs on this node")

// releaser is an acknowledgement to the device plugin.
type releaser interface{ Release() error }

// statusWriter keeps the status of a node up to date.
type statusWriter struct {
	nodeClient
	read           func() (epc.Advertisement, error)
	acknowledge    func(epc.Advertisement) (releaser, error)
	devicePolicies *devicePolicies
	known, written *daemon.Condition

	advertised *epc.Advertisement // nil before the first
	changed    time.Time          // when it last changed
	pending    bool               // whether a number must be written that needs only one write
	unread     string             // the last error of reading
	held       releaser           // the acknowledgement of what is written, or nil
	condition  conditionWriter
}

// run writes what is advertised when it changes, and repeats that at an interval, until
// ctx is done. It does not write while it is unguarded.
func (s *statusWriter) run(ctx context.Context) {
	defer s.release()
	retry := backoff.ExponentialBackOff{InitialInterval: minRetry, Multiplier: 2, MaxInterval: maxRetry}
	logged := ""
	next := time.Now()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		now := time.Now()
		if s.poll(now) {
			next = now
			retry.Reset()
		}
		if s.advertised != nil && !now.Before(next) {
			err := s.write(ctx, *s.advertised, now)
			if ctx.Err() != nil {
				return
			}
			s.written.Set(err)
			s.logOutcome(err, logged)
			logged = ""
			if err != nil {
				logged = err.Error()
			}
			switch {
			case err == nil:
				retry.Reset()
				next = now.Add(s.pause(now))
			case errors.Is(err, errPolicies):
				retry.Reset()
				next = now.Add(jitter(policyInterval))
			default:
				s.metrics.failures.Inc()
				next = now.Add(jitter(retry.NextBackOff()))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// poll reads what is advertised, and reports whether that needs a write at once. What
// cannot be read changes nothing.
func (s *statusWriter) poll(now time.Time) (urgent bool) {
	a, err := s.read()
	if errors.Is(err, fs.ErrNotExist) && s.advertised == nil {
		err = errNoAdvertisement
	}
	s.known.Set(err)
	if err != nil {
		if err.Error() != s.unread {
			s.log.Warn("read advertisement failed, retrying", "error", err)
		}
		s.unread = err.Error()
		return false
	}
	s.unread = ""
	before := s.advertised
	s.advertised = &a
	if before != nil && before.State == a.State && before.Wanted == a.Wanted && before.MiB == a.MiB && before.WithheldMiB == a.WithheldMiB && before.Resource == a.Resource {
		return false // a change of the message can wait
	}
	s.release()
	s.log.Info("advertisement changed", "state", a.State, "wanted", a.Wanted, "resource", a.Resource, "MiB", a.MiB, "pods", a.Pods)
	s.changed, s.pending = now, true
	return true
}

// pause returns the time until the next write.
func (s *statusWriter) pause(now time.Time) time.Duration {
	switch s.advertised.State {
	case epc.StateNode, epc.StateClosing, epc.StateReleasing:
		if now.Sub(s.changed) < settleTime {
			return pollInterval
		}
		return jitter(writeInterval)
	}
	return jitter(messageInterval)
}

// jitter spreads the writes of a cluster's nodes.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10) }

// logOutcome logs why a write failed, unless the last one failed for the same reason, and
// that one succeeds after some that did not.
func (s *statusWriter) logOutcome(err error, logged string) {
	switch {
	case err == nil && logged != "":
		s.log.Info("write node status succeeded again")
	case err == nil || err.Error() == logged:
	case errors.Is(err, nodeguard.ErrUnguarded):
		s.log.Error("not restricted by an admission policy, writing nothing", "error", err)
	case errors.Is(err, errPolicies):
		s.log.Error("an admission policy for pods with EPC is missing or changed", "error", err)
	default:
		s.log.Warn("write node status failed, retrying", "error", err)
	}
}

// errPolicies is that something is wrong with the policies for pods with EPC.
var errPolicies = errors.New("check admission policies")

// write writes what is advertised. It returns errPolicies if it has written that something is
// wrong with the policies.
func (s *statusWriter) write(ctx context.Context, a epc.Advertisement, now time.Time) error {
	err := s.checkGuard(ctx)
	if err != nil {
		return err
	}
	var p policies
	if a.State == epc.StateNode {
		if p, err = s.devicePolicies.check(ctx); err != nil {
			return err
		}
	}
	s.metrics.observePolicy(p != policies{})
	c := conditionOf(a, p)
	// The condition comes first: a policy of the chart goes by it, which keeps the kubelet
	// from restoring the number while it releases devices.
	if err := s.condition.write(ctx, &s.nodeClient, c, now); err != nil {
		return err
	}
	if err := s.writeNumber(ctx, a, p.lax()); err != nil {
		return err
	}
	if a.State == epc.StateClosing {
		if err := s.acknowledgeAgain(a); err != nil {
			return err
		}
	}
	if p != (policies{}) {
		return fmt.Errorf("%w: %s", errPolicies, c.message)
	}
	return nil
}

// acknowledgeAgain tells the device plugin that new pods are kept away. It does so for each
// write, since the plugin may have written the same once more, into another file.
func (s *statusWriter) acknowledgeAgain(a epc.Advertisement) error {
	next, err := s.acknowledge(a)
	if err != nil {
		return err
	}
	s.release()
	s.held = next
	return nil
}

// release takes back what was acknowledged.
func (s *statusWriter) release() {
	if s.held == nil {
		return
	}
	if err := s.held.Release(); err != nil {
		s.log.Warn("release acknowledgement failed", "error", err)
	}
	s.held = nil
}

// writeNumber writes how much EPC the node has. In mode devices, the kubelet writes it. In
// mode node it is 0 if the policies are lax.
func (s *statusWriter) writeNumber(ctx context.Context, a epc.Advertisement, lax bool) error {
	merge := func(lists map[string]any) error {
		_, err := s.patch(ctx, types.MergePatchType, map[string]any{"status": lists})
		return err
	}
	switch a.State {
	case epc.StateDevices:
		return nil
	case epc.StateNode:
		mib := a.MiB
		if lax {
			mib = 0
		}
		quantity := map[string]string{string(a.Resource): strconv.FormatInt(mib, 10)}
		return merge(map[string]any{"capacity": quantity, "allocatable": quantity})
	case epc.StateClosing, epc.StateReleasing:
		return merge(map[string]any{"allocatable": map[string]string{string(a.Resource): "0"}})
	}
	if !s.pending {
		return nil
	}
	// Replace what an earlier run has written. On a node that has never had the
	// resource this is invalid, as there is nothing to replace.
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(string(a.Resource))
	var patch []map[string]string
	for _, list := range []string{"capacity", "allocatable"} {
		patch = append(patch, map[string]string{"op": "replace", "path": "/status/" + list + "/" + escaped, "value": "0"})
	}
	_, err := s.patch(ctx, types.JSONPatchType, patch)
	if err == nil || apierrors.IsInvalid(err) {
		s.pending = false
		return nil
	}
	return err
}
