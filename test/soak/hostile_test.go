package soak

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm"
)

// hostileTask is the task of a hostile process.
type hostileTask struct {
	Socket   string
	Seed     uint64
	Frames   [][]byte // as genuine returns them
	Idle     int      // idle connections at a time
	Stalled  int      // connections stalled in the middle of a frame, at a time
	Vanished int      // clients that disconnect in the middle of a request, at a time
	Unread   int      // clients that do not read their reply, at a time
	Flood    int      // connections that are closed at once, in a row
	Gone     bool     // processes that end as soon as they have sent a request

	// The ports for HTTP, if they are attacked, and the last byte of the address of this
	// client.
	Verifier, Health string
	Address          byte
}

// havoc is what a hostile process has done.
type havoc struct {
	Connections map[string]int // by kind
	Faults      []string       // what the helper should not have done
}

// The pauses between two rounds.
const (
	holdTime  = 700 * time.Millisecond // of attacks that hold connections
	shortRest = 20 * time.Millisecond  // of attacks that do not
	goneRest  = 200 * time.Millisecond // of starting a process
)

// hostile is a process that does what a client should not.
type hostile struct {
	hostileTask
	samples [][]byte // frames to mutate

	mu    sync.Mutex
	havoc havoc
}

// harass prepares all attacks. They run concurrently, again and again.
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
	type attack struct {
		rest time.Duration
		run  func(context.Context, *rand.Rand)
	}
	attacks := []attack{
		{0, h.idle},
		{0, h.stall},
		{shortRest, h.forge},
		{shortRest, h.fuzz},
		{shortRest, h.vanish},
		{0, h.unread},
		{shortRest, h.flood},
	}
	if h.Gone {
		attacks = append(attacks, attack{goneRest, h.gone})
	}
	if h.Verifier != "" {
		attacks = append(attacks,
			attack{0, h.slowBodies}, attack{0, h.slowHeaders}, attack{0, h.keepAlive}, attack{shortRest, h.nonsense})
	}
	for i, attack := range attacks {
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

// connect opens and counts a connection. It is a fault of the helper if there is no socket.
func (h *hostile) connect(ctx context.Context, kind string) *net.UnixConn {
	conn, err := dial(ctx, h.Socket)
	if err != nil {
		if ctx.Err() == nil {
			h.fault("connect: %v", err)
			rest(ctx, shortRest)
		}
		return nil
	}
	h.count(kind)
	return conn
}

// count counts a connection.
func (h *hostile) count(kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.havoc.Connections[kind]++
}

func (h *hostile) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	const maxFaults = 20
	if len(h.havoc.Faults) < maxFaults {
		h.havoc.Faults = append(h.havoc.Faults, fmt.Sprintf(format, args...))
	}
}

// idle holds idle connections.
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

// stall sends part of a frame and then nothing.
func (h *hostile) stall(ctx context.Context, _ *rand.Rand) {
	frame := h.Frames[frameQuote]
	conns := make([]*net.UnixConn, 0, h.Stalled)
	for i := range h.Stalled {
		n := []int{1, 3, 4, 100}[i%4]
		if conn := h.connect(ctx, fmt.Sprintf("stalled after %d bytes", n)); conn != nil {
			_, _ = conn.Write(frame[:n]) // the connection may have been evicted
			conns = append(conns, conn)
		}
	}
	rest(ctx, holdTime)
	for _, conn := range conns {
		conn.Close()
	}
}

// lengths returns the forged lengths of frames and buffers.
func lengths() []uint32 {
	return []uint32{0, 1, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xffffffff}
}

// forge sends wrong lengths. A frame with a length that is too large must not get an
// answer; a buffer size that is too large must not get a quote.
func (h *hostile) forge(ctx context.Context, _ *rand.Rand) {
	quote := h.Frames[frameQuote]
	for _, length := range lengths() {
		reply := h.send(ctx, "forged length", forged(quote, length))
		if length > aesm.MaxRequestFrame && len(reply) > 0 {
			h.fault("frame with length %d: answered with %d bytes", length, len(reply))
		}
		reply = h.send(ctx, "forged buffer", withBufferSize(quote, length))
		if length > aesm.MaxBufferSize && len(reply) > 1000 {
			h.fault("buffer size %d: answered with %d bytes", length, len(reply))
		}
	}
}

// fuzz sends random bytes and mutated requests.
func (h *hostile) fuzz(ctx context.Context, r *rand.Rand) {
	for range 10 {
		h.send(ctx, "noise", noise(r, 1+r.IntN(2000)))
		h.send(ctx, "mutated", mutate(r, h.samples[r.IntN(len(h.samples))]))
	}
}

// send sends bytes, and returns what is received within a moment.
func (h *hostile) send(ctx context.Context, kind string, frame []byte) []byte {
	conn := h.connect(ctx, kind)
	if conn == nil {
		return nil
	}
	defer conn.Close()
	_, _ = conn.Write(frame) // the connection may have been evicted
	const moment = 20 * time.Millisecond
	_ = conn.SetReadDeadline(time.Now().Add(moment)) // fails only on a closed connection
	reply, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
		h.fault("%s: %v", kind, err)
	}
	return reply
}

// unread requests quotes for the largest buffer and does not read them.
func (h *hostile) unread(ctx context.Context, _ *rand.Rand) {
	frame := withBufferSize(h.Frames[frameQuote], aesm.MaxBufferSize)
	conns := make([]*net.UnixConn, 0, h.Unread)
	for range h.Unread {
		if conn := h.connect(ctx, "reply not read"); conn != nil {
			_, _ = conn.Write(frame) // the connection may have been refused
			conns = append(conns, conn)
		}
	}
	rest(ctx, holdTime)
	for _, conn := range conns {
		conn.Close()
	}
}

// vanish disconnects in the middle of requests: after half of the frame, after all of it,
// and while waiting for an answer.
func (h *hostile) vanish(ctx context.Context, r *rand.Rand) {
	quote := h.Frames[frameQuote]
	var waiting []*net.UnixConn
	for i := range h.Vanished {
		switch i % 4 {
		case 0:
			if conn := h.connect(ctx, "disconnected after half a request"); conn != nil {
				_, _ = conn.Write(quote[:len(quote)/2])
				conn.Close()
			}
		case 1:
			if conn := h.connect(ctx, "disconnected after the request"); conn != nil {
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
			if conn := h.connect(ctx, "disconnected while waiting"); conn != nil {
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

// flood connects and closes again and again, and sends a cheap request every other time.
func (h *hostile) flood(ctx context.Context, _ *rand.Rand) {
	for i := range h.Flood {
		conn := h.connect(ctx, "closed at once")
		if conn == nil {
			continue
		}
		if i%2 == 0 {
			_, _ = conn.Write(h.Frames[frameInit])
		}
		conn.Close()
	}
}

// gone starts a process that requests a quote and ends. It is in the same pod.
func (h *hostile) gone(ctx context.Context, _ *rand.Rand) {
	child := exec.CommandContext(ctx, os.Args[0], h.Socket, hex.EncodeToString(h.Frames[frameQuote]))
	child.Env = append(os.Environ(), roleEnv+"="+string(roleGone))
	if err := child.Run(); err == nil {
		h.count("process ended")
	} else if ctx.Err() == nil {
		h.fault("start a process: %v", err)
	}
}

// goneMain is the main function of a client that ends without waiting for the reply.
func goneMain() int {
	frame, err := hex.DecodeString(os.Args[2])
	if err != nil {
		return 1
	}
	conn, err := dial(context.Background(), os.Args[1])
	if err != nil {
		return 1
	}
	_, _ = conn.Write(frame) // the connection may have been refused
	return 0
}
