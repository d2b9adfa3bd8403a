package deviceplugin

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/offer"
)

// The time between two tries to register, while nothing in the kubelet's
// directory says that it is worth trying again at once. It doubles each time,
// until a registration has lasted as long as settled.
const (
	minRetry = 200 * time.Millisecond
	maxRetry = 30 * time.Second
	settled  = 10 * time.Second
)

// supply is what there is of a resource at a moment.
type supply struct {
	devices int
	numa    []int // the NUMA node of each device, or nil
	grant   *v1beta1.ContainerAllocateResponse
}

// endpoint offers one resource to the kubelet.
type endpoint struct {
	resource   string
	dir        directory
	log        *slog.Logger
	metrics    resourceMetrics
	registered *daemon.Condition

	mu      sync.Mutex
	offered *supply       // nil while the resource is not this plugin's to offer
	changed chan struct{} // closed when offered is no longer what it was
}

func newEndpoint(resource offer.ResourceName, dir directory, env *daemon.Environment, m *metrics) *endpoint {
	e := &endpoint{
		resource:   string(resource),
		dir:        dir,
		log:        env.Log.With("resource", resource),
		metrics:    m.of(string(resource)),
		registered: env.Health.Condition(string(resource)),
		changed:    make(chan struct{}),
	}
	e.registered.Set(nil) // nothing is offered yet
	return e
}

// current is what is offered now, and a channel that is closed when it changes.
func (e *endpoint) current() (*supply, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.offered, e.changed
}

func (e *endpoint) set(s *supply) {
	if reflect.DeepEqual(e.offered, s) {
		return
	}
	e.offered = s
	close(e.changed)
	e.changed = make(chan struct{})
}

// supply offers what there is, or nothing where the resource is not to be
// offered by this plugin, as another may then offer it.
func (e *endpoint) supply(offered bool, s supply) {
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
		e.registered.Set(nil)
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
	retry, said := minRetry, ""
	for {
		kubelet := e.dir.kubelet()
		lasted, err := e.registration(ctx, kubelet, look)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
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
		if now := e.dir.kubelet(); now != (socketID{}) && now != kubelet || e.dir.gone() {
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
