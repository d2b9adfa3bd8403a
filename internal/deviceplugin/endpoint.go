package deviceplugin

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
)

// The time between two tries to register, while nothing in the kubelet's
// directory says that it is worth trying again at once. It doubles each time,
// until a registration has lasted as long as settled.
const (
	minRetry = 200 * time.Millisecond
	maxRetry = 30 * time.Second
	settled  = 10 * time.Second
)

// errNotYet is why a resource is not registered that is offered since a moment.
var errNotYet = errors.New("about to register with the kubelet")

// supply is what there is of a resource at a moment.
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

// endpoint offers one resource to the kubelet.
type endpoint struct {
	resource string
	dir      directory
	log      *slog.Logger
	health   *daemon.Health
	metrics  *metrics

	mu         sync.Mutex
	offered    *supply           // nil while the resource is not this plugin's to offer
	changed    chan struct{}     // closed when offered is no longer what it was
	registered *daemon.Condition // nil until the resource is offered for the first time
}

func newEndpoint(resource epc.ResourceName, dir directory, env *daemon.Environment, m *metrics) *endpoint {
	return &endpoint{
		resource: string(resource),
		dir:      dir,
		log:      env.Log.With("resource", resource),
		health:   env.Health,
		metrics:  m,
		changed:  make(chan struct{}),
	}
}

// current is what is offered now, and a channel that is closed when it changes.
func (e *endpoint) current() (*supply, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.offered, e.changed
}

// set changes what is offered; mu is held.
func (e *endpoint) set(s *supply) {
	if e.offered.equal(s) {
		return
	}
	if e.offered == nil {
		// Whoever waits for the plugin to be ready waits for this, too.
		if e.registered == nil {
			e.registered = e.health.Condition(e.resource)
		}
		e.registered.Set(errNotYet)
	}
	e.offered = s
	close(e.changed)
	e.changed = make(chan struct{})
}

// offer offers what there is, or nothing where the resource is not to be
// offered by this plugin, as another may then offer it.
func (e *endpoint) offer(offered bool, s supply) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !offered {
		e.set(nil)
		return
	}
	e.set(&s)
}

// withdraw takes all devices back and keeps the resource: the kubelet is sent an
// empty list. To call each device unhealthy would keep it from its work for
// as long as its restart does, and might not fit into a message.
func (e *endpoint) withdraw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.offered != nil {
		e.set(&supply{})
	}
}

// run keeps the resource registered, while it is offered, until ctx is done. It
// returns an error when the kubelet's directory is gone.
func (e *endpoint) run(ctx context.Context) error {
	for ctx.Err() == nil {
		offered, changed := e.current()
		if offered != nil {
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

// keepRegistered registers the resource, again and again, until it is no longer
// offered or ctx is done.
func (e *endpoint) keepRegistered(ctx context.Context) error {
	// The watch comes first: from here on nothing that the kubelet does to its
	// directory goes unnoticed.
	look, stop := e.dir.watch(e.log)
	defer stop()
	e.registered.Set(errNotYet)
	m := e.metrics.of(e.resource)
	defer e.metrics.forget(e.resource)
	retry, said := minRetry, ""
	for {
		kubelet, _ := e.dir.kubelet() // registration says why it can't be told
		lasted, err := e.registration(ctx, look, m)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			e.registered.Set(nil)
			e.log.Info("no longer offered")
			return nil
		}
		e.registered.Set(err)
		if errors.Is(err, errDirectoryGone) {
			return err
		}
		// The same reason is worth one line, however often it is met in a row.
		level := slog.LevelWarn
		if lasted == 0 && err.Error() == said {
			level = slog.LevelDebug
		}
		said = err.Error()
		e.log.Log(ctx, level, "not registered with the kubelet", "reason", err)

		if lasted > settled || errors.Is(err, errNewKubelet) {
			retry = minRetry
		}
		if e.pause(ctx, retry, kubelet, look) {
			retry = minRetry
		} else {
			retry = min(2*retry, maxRetry)
		}
	}
}

// pause waits for the given time. It returns early when there is another
// kubelet's socket than the one given, or the directory is gone, and tells so.
func (e *endpoint) pause(ctx context.Context, duration time.Duration, kubelet socketID, look <-chan struct{}) (early bool) {
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
		case <-look:
		}
	}
}
