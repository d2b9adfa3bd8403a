package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// The order of the frames that genuine returns.
const (
	frameQuote = iota
	frameChallenged
	frameSize
	frameSelect
	frameNum
	frameInit
)

// genuine returns frames as a client sends them, with a report that can be quoted.
func genuine(ctx context.Context, socket string) ([][]byte, error) {
	client := aesm.Client{Socket: socket}
	key := aesm.IntelQE3KeyID()
	ready, err := client.InitQuote(ctx, key)
	if err != nil {
		return nil, err
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, ready.TargetInfo)
	if err != nil {
		return nil, err
	}
	var tape recorder
	client.Dial = func(context.Context) (net.Conn, error) { return &tape, nil }
	// There is no answer; only the frames are of interest.
	_, _ = client.GetQuote(ctx, key, report, bufferSize, nil)
	_, _ = client.GetQuote(ctx, key, report, bufferSize, &aesm.Challenge{Target: ready.TargetInfo})
	_, _ = client.QuoteSize(ctx, key)
	_, _ = client.SelectKeyID(ctx, key)
	_, _ = client.SupportedKeyIDs(ctx)
	_, _ = client.InitQuote(ctx, key)
	return tape.frames, nil
}

// recorder is a connection that records what is written to it.
type recorder struct {
	net.Conn
	frames [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.frames = append(r.frames, append([]byte(nil), p...))
	return len(p), nil
}

func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) SetDeadline(time.Time) error { return nil }
func (r *recorder) Close() error                { return nil }

// recorded returns recorded frames of other clients, if they are available.
func recorded() (frames [][]byte) {
	names, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "vectors", "aesm-golden", "*", "*.req")) // the pattern is well formed
	for _, name := range names {
		if frame, err := os.ReadFile(name); err == nil && len(frame) > 4 { // one file is empty
			frames = append(frames, frame)
		}
	}
	return frames
}

// full reports whether an error is that a daemon's backlog was full.
func full(err error) bool { return errors.Is(err, syscall.EAGAIN) }

// framed returns a message with its length before it.
func framed(message []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// forged returns a frame with another length word.
func forged(frame []byte, length uint32) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, length), frame[4:]...)
}

// withBufferSize returns a frame of GetQuoteEx with another buffer size.
func withBufferSize(frame []byte, size uint32) []byte {
	outer, _ := fields(frame[4:])
	_, _, tag := protowire.ConsumeTag(outer[0])
	message, _ := protowire.ConsumeBytes(outer[0][tag:])
	inner, _ := fields(message)
	var changed []byte
	for _, field := range inner {
		if num, kind, _ := protowire.ConsumeTag(field); kind == protowire.VarintType {
			field = protowire.AppendVarint(protowire.AppendTag(nil, num, kind), uint64(size))
		}
		changed = append(changed, field...)
	}
	return framed(append(append([]byte(nil), outer[0][:tag]...), protowire.AppendBytes(nil, changed)...))
}

// fields splits a message into its fields, each with its tag.
func fields(message []byte) (all [][]byte, ok bool) {
	for len(message) > 0 {
		_, _, n := protowire.ConsumeField(message)
		if n < 0 {
			return nil, false
		}
		all = append(all, message[:n])
		message = message[n:]
	}
	return all, true
}

// mutate changes a frame in one of many ways.
func mutate(r *rand.Rand, frame []byte) []byte {
	message := append([]byte(nil), frame[4:]...)
	switch r.IntN(7) {
	case 0: // some bits flipped
		for range 1 + r.IntN(8) {
			message[r.IntN(len(message))] ^= 1 << r.IntN(8)
		}
	case 1: // one byte of the structure changed
		message[r.IntN(min(len(message), 8))] = byte(r.Uint32())
	case 2: // truncated, with a matching length
		message = message[:r.IntN(len(message))]
	case 3: // truncated, with the old length
		return append([]byte(nil), frame[:r.IntN(len(frame))]...)
	case 4: // extended
		message = append(message, noise(r, 1+r.IntN(1000))...)
	case 5: // the fields in another order, some twice
		swapped := swapFields(r, message)
		if outer, ok := fields(message); ok && len(outer) == 1 {
			num, kind, tag := protowire.ConsumeTag(outer[0])
			if kind == protowire.BytesType {
				inner, _ := protowire.ConsumeBytes(outer[0][tag:])
				swapped = protowire.AppendBytes(protowire.AppendTag(nil, num, kind), swapFields(r, inner))
			}
		}
		message = swapped
	case 6: // the field of another kind of request
		if num, kind, tag := protowire.ConsumeTag(message); tag > 0 && num > 0 {
			message = append(protowire.AppendTag(nil, protowire.Number(1+r.IntN(25)), kind), message[tag:]...)
		}
	}
	return framed(message)
}

func swapFields(r *rand.Rand, message []byte) (swapped []byte) {
	all, ok := fields(message)
	if !ok || len(all) == 0 {
		return message
	}
	for range len(all) + r.IntN(3) {
		swapped = append(swapped, all[r.IntN(len(all))]...)
	}
	return swapped
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
