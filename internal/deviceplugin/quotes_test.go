package deviceplugin

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// newQuoteWait returns a wait for a socket that does not exist yet.
func newQuoteWait(t *testing.T) *quoteWait {
	return &quoteWait{
		QuoteWait: QuoteWait{Timeout: 20 * time.Second, Helper: DaemonSet{"confcom-system", "sgx-quote-helper"}},
		socket:    filepath.Join(t.TempDir(), "aesm.socket"),
		log:       slog.New(slog.DiscardHandler),
	}
}

// serveSocket listens on the AESM socket, or does so no longer and leaves the file.
func serveSocket(t *testing.T, path string) (stop func()) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	t.Cleanup(func() { listener.Close() })
	return func() { listener.Close() }
}

func TestWaitForQuotes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edit   func(t *testing.T, q *quoteWait, stop, cancel func())
		waited time.Duration
		code   codes.Code
	}{
		{"served", func(t *testing.T, q *quoteWait, _, _ func()) { serveSocket(t, q.socket) }, 0, codes.OK},
		{"served later", func(t *testing.T, q *quoteWait, _, _ func()) {
			time.AfterFunc(3*time.Second-time.Millisecond, func() { serveSocket(t, q.socket) })
		}, 3 * time.Second, codes.OK},
		{"never served", func(*testing.T, *quoteWait, func(), func()) {}, 20 * time.Second, codes.OK},
		{"daemon is dead", func(t *testing.T, q *quoteWait, _, _ func()) { serveSocket(t, q.socket)() }, 20 * time.Second, codes.OK},
		{"plugin stops", func(_ *testing.T, _ *quoteWait, stop, _ func()) { time.AfterFunc(time.Second, stop) }, time.Second, codes.Unavailable},
		{"kubelet hangs up", func(_ *testing.T, _ *quoteWait, _, cancel func()) { time.AfterFunc(time.Second, cancel) }, time.Second, codes.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQuoteWait(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stopping := make(chan struct{})
				tt.edit(t, q, func() { close(stopping) }, cancel)
				began := time.Now()
				err := q.wait(ctx, stopping, "example.com/epc", []string{"0"})
				if waited := time.Since(began); waited != tt.waited || status.Code(err) != tt.code {
					t.Errorf("waited %s, want %s; error %v, want code %s", waited, tt.waited, err, tt.code)
				}
			})
		})
	}
}

// podLister is the part of a kubelet that lists the resources of pods.
type podLister struct {
	podresources.UnimplementedPodResourcesListerServer
	pods []*podresources.PodResources
}

func (p podLister) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	return &podresources.ListPodResourcesResponse{PodResources: p.pods}, nil
}

// The quote helper's own pods do not wait for it.
func TestHelperDoesNotWait(t *testing.T) {
	pod := func(namespace, name, resource string, devices ...string) *podresources.PodResources {
		return &podresources.PodResources{Namespace: namespace, Name: name, Containers: []*podresources.ContainerResources{
			{Name: "main", Devices: []*podresources.ContainerDevices{{ResourceName: resource, DeviceIds: devices}}},
		}}
	}
	socket := filepath.Join(t.TempDir(), "kubelet.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, podLister{pods: []*podresources.PodResources{
		pod("confcom-system", "sgx-quote-helper-abcde", "example.com/epc", "0", "1"),
		pod("default", "sgx-quote-helper-abcde", "example.com/epc", "2"),
		pod("confcom-system", "job", "example.com/epc", "3"),
		pod("confcom-system", "sgx-quote-helper-abcde", "example.com/enclave", "4"),
	}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		<-served
	}()
	for _, tt := range []struct {
		name    string
		edit    func(*quoteWait)
		devices []string
		helper  bool
		err     string
	}{
		{"the helper's", nil, []string{"1", "0"}, true, ""},
		{"of another namespace", nil, []string{"2"}, false, ""},
		{"of another pod", nil, []string{"3"}, false, ""},
		{"of another resource", nil, []string{"4"}, false, ""},
		{"unknown", nil, []string{"5"}, false, ""},
		{"none", nil, nil, false, ""},
		{"no helper", func(q *quoteWait) { q.Helper = DaemonSet{} }, []string{"0"}, false, ""},
		{"no kubelet", func(q *quoteWait) { q.podResources += "x" }, []string{"0"}, false, "list pod resources"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := newQuoteWait(t)
			q.podResources = socket
			if tt.edit != nil {
				tt.edit(q)
			}
			helper, err := q.ofHelper(t.Context(), "example.com/epc", tt.devices)
			if helper != tt.helper || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%t, %v", helper, err)
			}
			if helper {
				if err := q.wait(t.Context(), nil, "example.com/epc", tt.devices); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDaemonSet(t *testing.T) {
	for text, want := range map[string]DaemonSet{"": {}, "ns/name": {"ns", "name"}} {
		var d DaemonSet
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
		if again, err := d.MarshalText(); string(again) != text || err != nil {
			t.Errorf("%q: %q, %v", text, again, err)
		}
	}
	for _, text := range []string{"name", "/name", "ns/", "/", "a/b/c"} {
		if err := new(DaemonSet).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
