package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// systemPath is where components find programs of the system, such as mount.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// supervisor owns the cluster's processes. It runs independently of the command that
// started the cluster, and serves HTTP on a socket in the state directory.
type supervisor struct {
	log      *slog.Logger
	children []*child
	// work is held while children are started or stopped.
	work sync.Mutex
}

// componentStatus is what the supervisor reports about a component.
type componentStatus struct {
	Name    string
	PID     int
	Since   time.Time
	Log     string
	Problem string // empty when healthy
}

// supervise starts the components and runs until it is stopped or a component does not
// become ready.
func supervise(ctx context.Context, l layout) error {
	s := &supervisor{log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	list, err := components(l)
	if err != nil {
		return err
	}
	for _, c := range list {
		s.children = append(s.children, &child{component: c, layout: l})
	}
	if err := joinCgroup(l, os.Getpid()); err != nil {
		return err
	}

	listener, err := net.Listen("unix", l.control())
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	server := &http.Server{
		Handler:           s.handler(stop),
		ReadHeaderTimeout: probeTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	go func() { stop(server.Serve(listener)) }()
	defer server.Close()

	defer s.stopAll()
	if err := s.startAll(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	s.log.Info("stopping", "reason", context.Cause(ctx))
	return nil
}

func (s *supervisor) startAll(ctx context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	for _, c := range s.children {
		if err := s.startChild(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) startChild(ctx context.Context, c *child) error {
	began := time.Now()
	if err := c.start(); err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	s.log.Info("ready", "component", c.name, "after", time.Since(began).Round(time.Millisecond))
	// From here on, nothing else logs that the component ends.
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	go func() {
		<-ended
		s.log.Info("ended", "component", c.name, "reason", c.exitError())
	}()
	return nil
}

// stopAll stops the components in reverse order.
func (s *supervisor) stopAll() {
	s.work.Lock()
	defer s.work.Unlock()
	for _, c := range slices.Backward(s.children) {
		c.stop()
	}
}

// handler serves the requests. GET /status returns what is known about the components,
// even while they start; GET /health probes each one first. POST /restart/NAME returns
// when the component is ready again, POST /stop at once.
func (s *supervisor) handler(stop context.CancelCauseFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		list := make([]componentStatus, len(s.children))
		for i, c := range s.children {
			list[i] = c.status()
		}
		_ = json.NewEncoder(w).Encode(list) // the client may have disconnected
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		list := make([]componentStatus, len(s.children))
		var probes sync.WaitGroup
		for i, c := range s.children {
			probes.Go(func() { list[i] = c.health(r.Context()) })
		}
		probes.Wait()
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /restart/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		i := slices.IndexFunc(s.children, func(c *child) bool { return c.name == name })
		if i < 0 {
			http.Error(w, "unknown component "+name, http.StatusNotFound)
			return
		}
		s.work.Lock()
		defer s.work.Unlock()
		s.log.Info("restarting", "component", name)
		s.children[i].stop()
		if err := s.startChild(r.Context(), s.children[i]); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) {
		stop(errors.New("stopped on request"))
	})
	return mux
}
