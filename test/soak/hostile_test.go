package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm"
)

// hostileTask says how hostile a process is to be.
type hostileTask struct {
	Socket   string
	Seed     uint64
	Frames   [][]byte // as genuine returns them
	Idle     int      // connections that sit idle at a time
	Stalled  int      // connections that stall in the middle of a frame, at a time
	Vanished int      // clients that vanish in the middle of a request, at a time
}

// havoc is what a hostile process has done: connections by kind.
type havoc struct {
	Connections map[string]int
	Faults      []string // what the helper should not have done
}

// The pauses between two rounds.
const (
	holdTime  = 700 * time.Millisecond // of those that sit there
	shortRest = 20 * time.Millisecond  // of those that come and go
)

// hostile is a process that does all that a client should not.
type hostile struct {
	hostileTask
	samples [][]byte // frames to mutate

	mu    sync.Mutex
	havoc havoc
}

// harass does all of it at once, again and again, until ctx is done.
func harass(_ context.Context, task hostileTask) (func(context.Context) havoc, error) {
	h := &hostile{
		hostileTask: task,
		samples:     append(task.Frames, recorded()...),
		havoc:       havoc{Connections: make(map[string]int)},
	}
	return h.run, nil
}

func (h *hostile) run(ctx context.Context) havoc {
	var running sync.WaitGroup
	for i, attack := range []struct {
		rest time.Duration
		run  func(context.Context, *rand.Rand)
	}{
		{0, h.idle},
		{0, h.stall},
		{shortRest, h.forge},
		{shortRest, h.fuzz},
		{shortRest, h.vanish},
	} {
		random := rand.New(rand.NewPCG(h.Seed, uint64(i)))
		running.Go(func() {
			for ctx.Err() == nil {
				attack.run(ctx, random)
				rest(ctx, attack.rest)
			}
		})
	}
	running.Wait()
	return h.havoc
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// connect connects and counts it. There always has to be a socket.
func (h *hostile) connect(ctx context.Context, kind string) *net.UnixConn {
	conn, err := dial(ctx, h.Socket)
	if err != nil {
		if ctx.Err() == nil {
			h.fault("connect: %v", err)
			rest(ctx, shortRest)
		}
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.havoc.Connections[kind]++
	return conn
}

func (h *hostile) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	const maxFaults = 20
	if len(h.havoc.Faults) < maxFaults {
		h.havoc.Faults = append(h.havoc.Faults, fmt.Sprintf(format, args...))
	}
}

// idle has connections sit idle.
func (h *hostile) idle(ctx context.Context, _ *rand.Rand) {
	conns := make([]*net.UnixConn, 0, h.Idle)
	for range h.Idle {
		if conn := h.connect(ctx, "idle"); conn != nil {
			conns = append(conns, conn)
		}
	}
	rest(ctx, holdTime)
	for _, conn := range conns {
		conn.Close()
	}
}

// stall sends a part of a frame and then nothing.
func (h *hostile) stall(ctx context.Context, _ *rand.Rand) {
	frame := h.Frames[frameQuote]
	conns := make([]*net.UnixConn, 0, h.Stalled)
	for i := range h.Stalled {
		n := []int{1, 3, 4, 100}[i%4]
		if conn := h.connect(ctx, fmt.Sprintf("stalled after %d bytes", n)); conn != nil {
			_, _ = conn.Write(frame[:n]) // it may be evicted already
			conns = append(conns, conn)
		}
	}
	rest(ctx, holdTime)
	for _, conn := range conns {
		conn.Close()
	}
}

// lengths are what is forged, in frames and for buffers.
func lengths() []uint32 {
	return []uint32{0, 1, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xffffffff}
}

// forge lies about lengths. A frame that says that it is too large must not get
// an answer, a buffer that is too large not a quote.
func (h *hostile) forge(ctx context.Context, _ *rand.Rand) {
	quote := h.Frames[frameQuote]
	for _, length := range lengths() {
		reply := h.send(ctx, "forged length", forged(quote, length))
		if length > aesm.MaxRequestFrame && len(reply) > 0 {
			h.fault("a frame that announces %d bytes was answered with %d", length, len(reply))
		}
		reply = h.send(ctx, "forged buffer", withRoom(quote, length))
		if length > aesm.MaxQuoteSize && len(reply) > 1000 {
			h.fault("a buffer of %d bytes was answered with %d", length, len(reply))
		}
	}
}

// fuzz sends noise and what looks almost like a request.
func (h *hostile) fuzz(ctx context.Context, r *rand.Rand) {
	for range 10 {
		h.send(ctx, "noise", noise(r, 1+r.IntN(2000)))
		h.send(ctx, "mutated", mutate(r, h.samples[r.IntN(len(h.samples))]))
	}
}

// send sends bytes, and returns what comes within a moment.
func (h *hostile) send(ctx context.Context, kind string, frame []byte) []byte {
	conn := h.connect(ctx, kind)
	if conn == nil {
		return nil
	}
	defer conn.Close()
	_, _ = conn.Write(frame) // it may be evicted already
	const moment = 20 * time.Millisecond
	_ = conn.SetReadDeadline(time.Now().Add(moment)) // it is open
	reply, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
		h.fault("%s: %v", kind, err)
	}
	return reply
}

// vanish leaves in the middle of requests: after half of it, after the whole,
// while it waits for its turn.
func (h *hostile) vanish(ctx context.Context, r *rand.Rand) {
	quote := h.Frames[frameQuote]
	var waiting []*net.UnixConn
	for i := range h.Vanished {
		switch i % 4 {
		case 0:
			if conn := h.connect(ctx, "vanished after half"); conn != nil {
				_, _ = conn.Write(quote[:len(quote)/2])
				conn.Close()
			}
		case 1:
			if conn := h.connect(ctx, "vanished after the request"); conn != nil {
				_, _ = conn.Write(quote)
				conn.Close()
			}
		case 2:
			if conn := h.connect(ctx, "closed its sending half"); conn != nil {
				_, _ = conn.Write(quote)
				_ = conn.CloseWrite()
				waiting = append(waiting, conn)
			}
		case 3:
			if conn := h.connect(ctx, "vanished while it waited"); conn != nil {
				_, _ = conn.Write(quote)
				waiting = append(waiting, conn)
			}
		}
	}
	rest(ctx, time.Duration(r.IntN(10))*time.Millisecond)
	for _, conn := range waiting {
		conn.Close()
	}
}
