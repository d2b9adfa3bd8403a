//go:build kubelet

package kubelet

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// forwarder replaces the kubelet's socket and forwards all bytes between the plugins and
// the kubelet, after a delay.
type forwarder struct {
	listener *net.UnixListener
	behind   string                    // path of the kubelet's own socket
	delay    func(n int) time.Duration // before connection n is forwarded
	work     sync.WaitGroup
}

// putForwarder atomically replaces the kubelet's socket with a forwarder until the test
// ends.
func putForwarder(t *testing.T, delay func(n int) time.Duration) {
	t.Helper()
	f := &forwarder{behind: filepath.Join(kubeletRoot, "behind-forwarder.sock"), delay: delay}
	front := filepath.Join(kubeletRoot, "forwarder.sock")
	var err error
	if f.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: front, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	f.listener.SetUnlinkOnClose(false) // it is renamed below
	if err := os.Link(kubeletSocket, f.behind); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(front, kubeletSocket); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	f.work.Go(func() { f.serve(ctx) })
	t.Cleanup(func() {
		cancel()
		f.listener.Close()
		f.work.Wait()
		os.Remove(f.behind)
	})
}

func (f *forwarder) serve(ctx context.Context) {
	for n := 0; ; n++ {
		plugin, err := f.listener.AcceptUnix()
		if err != nil {
			return
		}
		f.work.Go(func() { f.forward(ctx, plugin, f.delay(n)) })
	}
}

func (f *forwarder) forward(ctx context.Context, plugin *net.UnixConn, delay time.Duration) {
	defer plugin.Close()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return
	}
	kubelet, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: f.behind, Net: "unix"})
	if err != nil {
		return // which closes the plugin's connection
	}
	defer kubelet.Close()
	defer context.AfterFunc(ctx, func() {
		plugin.Close()
		kubelet.Close()
	})()

	var both sync.WaitGroup
	for _, direction := range []struct{ from, to *net.UnixConn }{{plugin, kubelet}, {kubelet, plugin}} {
		both.Go(func() {
			_, _ = io.Copy(direction.to, direction.from)
			_ = direction.to.CloseWrite()
		})
	}
	both.Wait()
}
