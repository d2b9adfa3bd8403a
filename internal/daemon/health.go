package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Health is what a daemon says about itself: the conditions that must all be
// met for it to be ready. The zero value has none and is ready.
type Health struct {
	mu         sync.Mutex
	conditions []*Condition
}

// Condition adds a condition that is not met until Set says so. The order in
// which conditions are added is the order in which they are reported.
func (h *Health) Condition(name string) *Condition {
	c := &Condition{name: name, unmet: errors.New("not reached yet")}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conditions = append(h.conditions, c)
	return c
}

// Condition is one thing that a daemon needs to be ready.
type Condition struct {
	name string

	mu    sync.Mutex
	unmet error
}

// Set records that the condition is met, when unmet is nil, or else why not.
func (c *Condition) Set(unmet error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmet = unmet
}

func (c *Condition) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unmet
}

// report tells whether all conditions are met, and each on a line of its own
// in the notation of the Kubernetes components.
func (h *Health) report() (ready bool, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	ready = true
	for _, c := range h.conditions {
		if unmet := c.reason(); unmet != nil {
			ready = false
			fmt.Fprintf(&b, "[-] %s: %v\n", c.name, unmet)
		} else {
			fmt.Fprintf(&b, "[+] %s\n", c.name)
		}
	}
	return ready, b.String()
}

// handler serves /healthz, which answers while the process lives, and /readyz.
func (h *Health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, text := h.report()
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, text)
	})
	return mux
}

// serve answers over HTTP on address for as long as work runs, so that probes
// still see a daemon that takes its time to stop. An empty address serves
// nothing. When serving fails, work is asked to stop.
func (h *Health) serve(ctx context.Context, address string, log *slog.Logger, work func(context.Context) error) error {
	if address == "" {
		return work(ctx)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--health-address=%s: %w", address, err)
	}
	log.Info("health is served", "address", listener.Addr().String())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: h.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() {
		defer cancel()
		served <- server.Serve(listener)
	}()

	err = work(ctx)
	_ = server.Close() // its error is that of the listener, which Serve reports too
	if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
		return errors.Join(err, fmt.Errorf("health endpoint on %s: %w", listener.Addr(), failed))
	}
	return err
}
