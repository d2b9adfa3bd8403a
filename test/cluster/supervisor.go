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

// systemPath is where components find the system's programs, such as mount.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// supervisor owns the cluster's processes. It runs apart from the command that
// brought the cluster up, and answers on a socket in the state directory.
type supervisor struct {
	log      *slog.Logger
	children []*child
	// work is held by whatever starts or stops children.
	work sync.Mutex
}

// componentStatus is what the supervisor tells of a component.
type componentStatus struct {
	Name    string
	PID     int
	Since   time.Time
	Log     string
	Problem string // empty when healthy
}

// supervise starts the components and runs until it is told to stop or a
// component does not get ready.
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
		return fmt.Errorf("listen for commands: %w", err)
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
	// From here on its end is news; status tells it too.
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	go func() {
		<-ended
		s.log.Info("ended", "component", c.name, "how", c.exitError())
	}()
	return nil
}

// stopAll stops the components, the last started first.
func (s *supervisor) stopAll() {
	s.work.Lock()
	defer s.work.Unlock()
	for _, c := range slices.Backward(s.children) {
		c.stop()
	}
}

// handler serves the commands. GET /status says what is known, and can be
// asked while components start; GET /health takes a look at each first. POST
// /restart/NAME returns once the component is ready again, POST /stop at once.
func (s *supervisor) handler(stop context.CancelCauseFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		list := make([]componentStatus, len(s.children))
		for i, c := range s.children {
			list[i] = c.status()
		}
		_ = json.NewEncoder(w).Encode(list) // whoever asked may be gone
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		list := make([]componentStatus, len(s.children))
		var looks sync.WaitGroup
		for i, c := range s.children {
			looks.Go(func() { list[i] = c.health(r.Context()) })
		}
		looks.Wait()
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /restart/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		i := slices.IndexFunc(s.children, func(c *child) bool { return c.name == name })
		if i < 0 {
			http.Error(w, "no component has the name "+name, http.StatusNotFound)
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
		stop(errors.New("asked to stop"))
	})
	return mux
}
