package aesm

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkListener compares a Listener, whose connections stay out of the runtime's
// poller until they have to wait, with the net package's. Client and Server are the
// real ones, in this process, so the CPU time per request includes the client's. The
// Handler only copies a quote.
//
// CPU time is the figure to compare; on a busy machine the wall time says little.
// See docs/performance.md.
func BenchmarkListener(b *testing.B) {
	for _, clients := range []int{1, 64} {
		for _, l := range []struct {
			name   string
			listen func(path string) (net.Listener, error)
		}{
			{"net", func(path string) (net.Listener, error) {
				l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
				return netListener{l}, err
			}},
			{"aesm", func(path string) (net.Listener, error) { return Listen(path) }},
		} {
			b.Run(fmt.Sprintf("clients=%d/listener=%s", clients, l.name), func(b *testing.B) {
				listener, err := l.listen(socketPath(b))
				if err != nil {
					b.Fatal(err)
				}
				benchmarkClients(b, listener, clients)
			})
		}
	}
}

// netListener lets a Server drain a net.UnixListener as it drains a Listener.
type netListener struct{ *net.UnixListener }

func (netListener) Withdraw() error { return nil } // Close does it

// benchmarkClients measures quote requests from concurrent clients, each on a
// connection of its own.
func benchmarkClients(b *testing.B, listener net.Listener, clients int) {
	h := newStub()
	h.quote = fakeQuote(4734)
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := (&Server{Handler: h}).serve(ctx, listener, time.Millisecond); err != nil {
			b.Error(err)
		}
	})
	defer serving.Wait()
	defer stop()

	client := &Client{Socket: listener.Addr().String()}
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime()
	var requests atomic.Int64
	var asking sync.WaitGroup
	for range clients {
		asking.Go(func() {
			for requests.Add(1) <= int64(b.N) {
				if _, err := client.GetQuote(ctx, IntelQE3KeyID(), testReport(), 4734, nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	asking.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
}

// cpuTime returns the CPU time of this process, in user space and in the kernel.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
