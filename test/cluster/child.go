package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// readyLimit bounds the time in which a component becomes ready. The slowest takes
	// a few seconds on an idle machine.
	readyLimit = 2 * time.Minute
	// stopGrace bounds the time in which a component ends after SIGTERM. The API server
	// would wait a minute for its watchers.
	stopGrace = 3 * time.Second
)

// child is a component and the process that runs it.
type child struct {
	component
	layout layout

	mu      sync.Mutex
	cmd     *exec.Cmd
	started time.Time
	isReady bool
	ended   chan struct{} // closed when the process has ended
	exit    error         // the reason, once ended is closed
}

// start starts the component's program. It appends to the log, so that the last lines
// of an earlier process remain readable.
func (c *child) start() error {
	log, err := os.OpenFile(c.layout.log(c.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", c.name, err)
	}
	defer log.Close()
	// It has no context on purpose: a component outlives the request that restarts it.
	cmd := exec.Command(c.layout.binary(c.name), c.args...)
	cmd.Dir = c.layout.State
	cmd.Env = append(os.Environ(), "PATH="+c.layout.Bin+":"+systemPath)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	ended := make(chan struct{})
	c.mu.Lock()
	c.cmd, c.started, c.isReady, c.ended, c.exit = cmd, time.Now(), false, ended, nil
	c.mu.Unlock()
	go func() {
		_ = cmd.Wait() // ProcessState has the same information
		c.mu.Lock()
		c.exit = fmt.Errorf("%s (pid %d) ended: %s", c.name, cmd.Process.Pid, cmd.ProcessState)
		c.mu.Unlock()
		close(ended)
	}()
	return nil
}

// waitReady waits until the component is ready. It returns an error if the component
// ends first or is not ready in time.
func (c *child) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.mu.Lock()
	started, ended := c.started, c.ended
	c.mu.Unlock()
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
			cancel(c.exitError())
		}
	}()
	err := poll(ctx, readyLimit, func(ctx context.Context) error { return c.ready(ctx, started) })
	if err != nil {
		output, _ := os.ReadFile(c.layout.log(c.name))
		return fmt.Errorf("%s did not become ready: %w; the end of %s:\n%s", c.name, err, c.layout.log(c.name), lastLines(output, 5))
	}
	c.mu.Lock()
	c.isReady = true
	c.mu.Unlock()
	return nil
}

func (c *child) exitError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exit
}

// stop stops the process with SIGTERM, and kills it after stopGrace. Only the parent
// can do so safely: until it has waited for the process, the pid is not reused.
func (c *child) stop() {
	c.mu.Lock()
	cmd, ended := c.cmd, c.ended
	c.mu.Unlock()
	if cmd == nil {
		return
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return
	}
	select {
	case <-ended:
	case <-time.After(stopGrace):
		_ = cmd.Process.Kill() // it may have ended meanwhile
		<-ended
	}
}

// status returns what is known about the component.
func (c *child) status() componentStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := componentStatus{Name: c.name, Log: c.layout.log(c.name), Since: c.started}
	if c.cmd != nil {
		s.PID = c.cmd.Process.Pid
	}
	switch {
	case c.cmd == nil:
		s.Problem = "not started yet"
	case c.exit != nil:
		s.Problem = c.exit.Error()
	case !c.isReady:
		s.Problem = "starting"
	}
	return s
}

// health probes the component and returns its status.
func (c *child) health(ctx context.Context) componentStatus {
	s := c.status()
	if s.Problem != "" {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := c.ready(ctx, s.Since); err != nil {
		s.Problem = err.Error()
	}
	return s
}
