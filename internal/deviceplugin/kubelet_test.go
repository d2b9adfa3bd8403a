package deviceplugin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubelet plays the kubelet's side of the device plugin API over real sockets.
type kubelet struct {
	v1beta1.UnimplementedRegistrationServer

	dir     string
	refusal func() error // asked at each registration; nil accepts all
	plugins chan *plugin // those that have registered

	server  *grpc.Server
	running context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// plugin is what the kubelet knows of a plugin.
type plugin struct {
	*v1beta1.RegisterRequest
	client v1beta1.DevicePluginClient
	// lists has each list of devices, and is closed when the stream ends.
	lists chan []*v1beta1.Device
	// hangUp ends the stream of devices alone.
	hangUp context.CancelFunc
}

// startKubelet starts a kubelet in the way of the real one: it first removes
// all sockets that it finds in its directory.
func startKubelet(t *testing.T, dir string, refusal func() error) *kubelet {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Type() == os.ModeSocket {
			os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
	return serveKubelet(t, dir, refusal)
}

// serveKubelet serves a new kubelet.sock and removes nothing else.
func serveKubelet(t *testing.T, dir string, refusal func() error) *kubelet {
	t.Helper()
	k := &kubelet{dir: dir, refusal: refusal, plugins: make(chan *plugin, 16), server: grpc.NewServer()}
	k.running, k.stop = context.WithCancel(context.Background())
	path := filepath.Join(dir, "kubelet.sock")
	os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	// A kubelet that dies leaves its socket, and one that comes after it must
	// not lose its own to the end of the first.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	v1beta1.RegisterRegistrationServer(k.server, k)
	k.work.Go(func() { k.server.Serve(listener) })
	t.Cleanup(k.kill)
	return k
}

// kill ends the kubelet and all its connections, and leaves its socket.
func (k *kubelet) kill() {
	k.stop()
	k.server.Stop()
	k.work.Wait()
}

// Register dials back before it answers, as the real one does.
func (k *kubelet) Register(ctx context.Context, request *v1beta1.RegisterRequest) (*v1beta1.Empty, error) {
	if k.refusal != nil {
		if err := k.refusal(); err != nil {
			return nil, err
		}
	}
	if request.Version != v1beta1.Version || request.Endpoint != filepath.Base(request.Endpoint) {
		return nil, errors.New("not a request that a kubelet accepts")
	}
	// The limit of 4 MiB on what is received is the default of gRPC, which the
	// kubelet leaves as it is.
	conn, err := grpc.NewClient("unix://"+filepath.Join(k.dir, request.Endpoint), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	p := &plugin{RegisterRequest: request, client: v1beta1.NewDevicePluginClient(conn), lists: make(chan []*v1beta1.Device, 1)}
	if _, err := p.client.GetDevicePluginOptions(ctx, &v1beta1.Empty{}); err != nil {
		conn.Close()
		return nil, err
	}
	watching, hangUp := context.WithCancel(k.running)
	p.hangUp = hangUp
	k.work.Go(func() {
		<-k.running.Done()
		conn.Close()
	})
	k.work.Go(func() {
		defer close(p.lists)
		stream, err := p.client.ListAndWatch(watching, &v1beta1.Empty{})
		for err == nil {
			var response *v1beta1.ListAndWatchResponse
			if response, err = stream.Recv(); err == nil {
				p.lists <- response.Devices
			}
		}
	})
	k.plugins <- p
	return &v1beta1.Empty{}, nil
}

// registered waits for a plugin to register and to list its devices.
func (k *kubelet) registered(t *testing.T) (*plugin, []*v1beta1.Device) {
	t.Helper()
	p, _ := next(t, k.plugins, "a plugin to register")
	devices, open := next(t, p.lists, "the plugin's list of devices")
	if !open {
		t.Fatal("the plugin's stream ended before it listed its devices")
	}
	return p, devices
}

// next receives what is waited for. A test that waits longer than anything
// here can take has failed.
func next[T any](t *testing.T, from <-chan T, what string) (value T, open bool) {
	t.Helper()
	select {
	case value, open = <-from:
		return value, open
	case <-time.After(30 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		return value, false
	}
}

// socketDir makes a directory whose path leaves room for sockets. That of
// t.TempDir contains the name of the test.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubelet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
