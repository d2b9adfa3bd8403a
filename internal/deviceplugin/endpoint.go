package deviceplugin

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
)

// The time between two attempts to register, unless a change in the kubelet's
// directory triggers the next one at once. It doubles with each attempt, until a
// registration has lasted for stableAfter.
const (
	minRetry    = 200 * time.Millisecond
	maxRetry    = 30 * time.Second
	stableAfter = 10 * time.Second
)

// errRegistering is why a resource is not registered that is newly advertised.
var errRegistering = errors.New("about to register with the kubelet")

// supply is how much of a resource is advertised, and what containers get for it.
type supply struct {
	devices int
	numa    []int // the NUMA node of each device, or nil
	grant   *v1beta1.ContainerAllocateResponse
}

func (s *supply) equal(other *supply) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.devices == other.devices && slices.Equal(s.numa, other.numa) && proto.Equal(s.grant, other.grant)
}

// endpoint advertises one resource to the kubelet.
type endpoint struct {
	resource string
	dir      directory
	log      *slog.Logger
	health   *daemon.Health
	metrics  *Metrics
	quotes   *quoteWait // nil if containers do not wait for quotes

	mu         sync.Mutex
	advertised *supply           // nil while this plugin does not advertise the resource
	changed    chan struct{}     // closed when advertised changes
	registered *daemon.Condition // nil until the resource is first advertised
}

func newEndpoint(resource epc.ResourceName, dir directory, env *daemon.Environment, m *Metrics) *endpoint {
	return &endpoint{
		resource: string(resource),
		dir:      dir,
		log:      env.Log.With("resource", resource),
		health:   env.Health,
		metrics:  m,
		changed:  make(chan struct{}),
	}
}

// current returns what is advertised now, and a channel that is closed when that
// changes.
func (e *endpoint) current() (*supply, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.advertised, e.changed
}

// isRegistered reports whether the kubelet has accepted the resource.
func (e *endpoint) isRegistered() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.registered != nil && e.registered.Unmet() == nil
}

// set changes what is advertised. The caller holds mu.
func (e *endpoint) set(s *supply) {
	if e.advertised.equal(s) {
		return
	}
	if e.advertised == nil {
		// The plugin is ready only when the kubelet knows the resource.
		if e.registered == nil {
			e.registered = e.health.Condition(e.resource)
		}
		e.registered.Set(errRegistering)
	}
	e.advertised = s
	close(e.changed)
	e.changed = make(chan struct{})
}

// advertise advertises s if on is true. Otherwise it gives the resource up, so that
// another plugin can advertise it.
func (e *endpoint) advertise(on bool, s supply) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !on {
		e.set(nil)
		return
	}
	e.set(&s)
}

// withdraw withdraws all devices but keeps the resource: the kubelet gets an empty
// list. Marking every device unhealthy would block the kubelet for as long as its
// restart does, and the list might exceed a message.
func (e *endpoint) withdraw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.advertised != nil {
		e.set(&supply{})
	}
}

// resend sends the devices again although they have not changed, so that the kubelet
// writes its record of them.
func (e *endpoint) resend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.advertised != nil {
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// run keeps the resource registered, while it is advertised, until ctx is done. It
// returns an error if the kubelet's directory is gone.
func (e *endpoint) run(ctx context.Context) error {
	for ctx.Err() == nil {
		advertised, changed := e.current()
		if advertised != nil {
			if err := e.keepRegistered(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

// keepRegistered registers the resource as often as it takes, until it is no longer
// advertised or ctx is done.
func (e *endpoint) keepRegistered(ctx context.Context) error {
	// Watching starts first, so that no change of the kubelet's directory is missed
	// from here on.
	poll, stop := e.dir.watch(e.log)
	defer stop()
	e.registered.Set(errRegistering)
	m := e.metrics.of(e.resource)
	defer e.metrics.forget(e.resource)
	retry := backoff.ExponentialBackOff{InitialInterval: minRetry, Multiplier: 2, MaxInterval: maxRetry}
	logged := ""
	for {
		kubelet, _ := e.dir.kubelet() // registration returns the error
		lasted, err := e.registration(ctx, poll, m)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			e.registered.Set(nil)
			e.log.Info("no longer advertised")
			return nil
		}
		e.registered.Set(err)
		if errors.Is(err, errDirectoryGone) {
			return err
		}
		// The same reason several times in a row is worth one line.
		level := slog.LevelWarn
		if lasted == 0 && err.Error() == logged {
			level = slog.LevelDebug
		}
		logged = err.Error()
		e.log.Log(ctx, level, "not registered with the kubelet", "reason", err)

		if lasted > stableAfter || errors.Is(err, errNewKubelet) {
			retry.Reset()
		}
		if e.pause(ctx, retry.NextBackOff(), kubelet, poll) {
			retry.Reset()
		}
	}
}

// pause waits for the given time. It returns early, and reports so, if the kubelet's
// socket is another one than the given one, or the directory is gone.
func (e *endpoint) pause(ctx context.Context, duration time.Duration, kubelet socketID, poll <-chan struct{}) (early bool) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	for {
		if now, err := e.dir.kubelet(); err == nil && now != kubelet || e.dir.gone() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case <-poll:
		}
	}
}
