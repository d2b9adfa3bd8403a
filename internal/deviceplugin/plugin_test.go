package deviceplugin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a plugin that runs.
type running struct {
	states chan error // what Registered is told
	done   chan error // what Run returns
	stop   context.CancelFunc
	log    *log
}

// log keeps what is logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// run runs a plugin that offers epc until the test ends.
func run(t *testing.T, dir string, epc node.Size) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{states: make(chan error, 64), done: make(chan error, 1), stop: cancel, log: new(log)}
	p := &Plugin{
		Inventory:  node.Simulated(epc),
		KubeletDir: dir,
		Log:        slog.New(slog.NewTextHandler(r.log, nil)),
		Registered: func(unmet error) { r.states <- unmet },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("log of the plugin:\n%s", r.log)
		}
	})
	return r
}

// finish stops the plugin and checks that it ended cleanly.
func (r *running) finish(t *testing.T, dir string) {
	t.Helper()
	r.stop()
	if err, _ := next(t, r.done, "the end of Run"); err != nil {
		t.Errorf("Run: %v", err)
	}
	if left := sockets(t, dir); len(left) > 0 {
		t.Errorf("sockets left behind: %v", left)
	}
}

// state waits until Registered is told something that contains want, or that
// all is well when want is empty.
func (r *running) state(t *testing.T, want string) {
	t.Helper()
	for {
		unmet, _ := next(t, r.states, "state "+strconv.Quote(want))
		if unmet == nil && want == "" || unmet != nil && want != "" && strings.Contains(unmet.Error(), want) {
			return
		}
	}
}

// sockets are the names of this plugin's sockets in dir.
func sockets(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, socketPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestRegister(t *testing.T) {
	dir := socketDir(t)
	k := startKubelet(t, dir, nil)
	r := run(t, dir, 64*node.MiB)
	p, devices := k.registered(t)
	r.state(t, "")
	if p.ResourceName != "kubernetes.azure.com/sgx_epc_mem_in_MiB" {
		t.Errorf("resource %s", p.ResourceName)
	}
	if len(devices) != 64 {
		t.Errorf("%d devices", len(devices))
	}
	for i, device := range devices {
		if device.ID != deviceID(i) || device.Health != "Healthy" || device.Topology != nil {
			t.Fatalf("device %d: %v", i, device)
		}
	}
	if _, err := p.client.Allocate(t.Context(), &v1beta1.AllocateRequest{ContainerRequests: []*v1beta1.ContainerAllocateRequest{{DevicesIds: []string{"0", "_"}}}}); err != nil {
		t.Errorf("Allocate: %v", err)
	}
	if !strings.Contains(r.log.String(), `msg="advertising EPC" resource=kubernetes.azure.com/sgx_epc_mem_in_MiB MiB=64 source=SIMULATED device=none`) {
		t.Errorf("log:\n%s", r.log)
	}
	r.finish(t, dir)
	if _, open := <-p.lists; open {
		t.Error("the stream of devices has not ended")
	}
}

// Each way in which a kubelet lets go of a plugin must lead to a new
// registration, with a new socket.
func TestRegisterAgain(t *testing.T) {
	tests := []struct {
		name string
		lose func(t *testing.T, k *kubelet, p *plugin) *kubelet
	}{
		{"kubelet restarts", func(t *testing.T, k *kubelet, _ *plugin) *kubelet {
			k.kill()
			return startKubelet(t, k.dir, nil)
		}},
		{"kubelet restarts before the old one is gone", func(t *testing.T, k *kubelet, _ *plugin) *kubelet {
			return startKubelet(t, k.dir, nil)
		}},
		{"stream ends", func(_ *testing.T, k *kubelet, p *plugin) *kubelet {
			p.hangUp()
			return k
		}},
		{"plugin's socket is removed", func(t *testing.T, k *kubelet, p *plugin) *kubelet {
			if err := os.Remove(filepath.Join(k.dir, p.Endpoint)); err != nil {
				t.Fatal(err)
			}
			return k
		}},
		{"kubelet's socket is new", func(t *testing.T, k *kubelet, _ *plugin) *kubelet {
			return serveKubelet(t, k.dir, nil)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := socketDir(t)
			k := startKubelet(t, dir, nil)
			r := run(t, dir, 3*node.MiB)
			before, _ := k.registered(t)
			r.state(t, "")

			k = test.lose(t, k, before)
			after, devices := k.registered(t)
			r.state(t, "")
			if len(devices) != 3 {
				t.Errorf("%d devices", len(devices))
			}
			if after.Endpoint == before.Endpoint {
				t.Errorf("socket %s was used again", after.Endpoint)
			}
			if left := sockets(t, dir); len(left) != 1 {
				t.Errorf("sockets: %v", left)
			}
			r.finish(t, dir)
		})
	}
}

func TestKubeletComesLater(t *testing.T) {
	dir := socketDir(t)
	r := run(t, dir, node.MiB)
	reason := "kubelet socket " + filepath.Join(dir, "kubelet.sock") + " is not there: "
	r.state(t, reason)
	r.state(t, reason) // it has tried again
	if lines := strings.Count(r.log.String(), "level=WARN"); lines != 1 {
		t.Errorf("%d warnings:\n%s", lines, r.log)
	}
	k := startKubelet(t, dir, nil)
	k.registered(t)
	r.state(t, "")
	r.finish(t, dir)
}

func TestKubeletDead(t *testing.T) {
	dir := socketDir(t)
	startKubelet(t, dir, nil).kill()
	r := run(t, dir, node.MiB)
	r.state(t, "connection refused")
	k := startKubelet(t, dir, nil)
	k.registered(t)
	r.state(t, "")
	r.finish(t, dir)
}

func TestKubeletRefuses(t *testing.T) {
	dir := socketDir(t)
	refusals := 2
	k := startKubelet(t, dir, func() error {
		if refusals == 0 {
			return nil
		}
		refusals--
		return errors.New("not now")
	})
	r := run(t, dir, node.MiB)
	r.state(t, "not now")
	r.state(t, "not now")
	k.registered(t)
	r.state(t, "")
	r.finish(t, dir)
}

func TestStopWhileWaiting(t *testing.T) {
	dir := socketDir(t)
	r := run(t, dir, node.MiB)
	r.state(t, "is not there")
	r.finish(t, dir)
}

func TestDirectoryRemoved(t *testing.T) {
	for _, with := range []string{"kubelet", "no kubelet"} {
		t.Run("with "+with, func(t *testing.T) {
			dir := filepath.Join(socketDir(t), "kubelet")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if with == "kubelet" {
				k := serveKubelet(t, dir, nil)
				run := run(t, dir, node.MiB)
				k.registered(t)
				run.state(t, "")
				removeAndExpectEnd(t, dir, run)
			} else {
				run := run(t, dir, node.MiB)
				run.state(t, "is not there")
				removeAndExpectEnd(t, dir, run)
			}
		})
	}
}

func removeAndExpectEnd(t *testing.T, dir string, r *running) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err, _ := next(t, r.done, "the end of Run"); !errors.Is(err, errDirectoryGone) {
		t.Errorf("Run: %v", err)
	}
}

func TestCannotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := "/" + strings.Repeat("d", 80)
	tests := []struct {
		name   string
		plugin Plugin
		want   []string
	}{
		{"path too long", Plugin{KubeletDir: long}, []string{long, "has 111 bytes, and Linux allows 107", "--kubelet-dir"}},
		{"no directory", Plugin{KubeletDir: file + "s"}, []string{file + "s is not there", "Kubernetes node", "--kubelet-dir"}},
		{"no directory but a file", Plugin{KubeletDir: file}, []string{file + " is not a directory", "--kubelet-dir"}},
		{"relative AESM directory", Plugin{KubeletDir: t.TempDir(), AESMDir: "aesmd"}, []string{"aesmd is not an absolute path", "--aesm-dir"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.plugin.Log = slog.New(slog.DiscardHandler)
			err := test.plugin.Run(t.Context())
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
		})
	}
}

// A plugin that was killed leaves its socket; one that still runs, as during a
// rolling update, keeps it, and so does everybody else.
func TestStaleSockets(t *testing.T) {
	dir := socketDir(t)
	listen := func(name string) (*net.UnixListener, string) {
		path := filepath.Join(dir, name)
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		unix := listener.(*net.UnixListener)
		unix.SetUnlinkOnClose(false)
		t.Cleanup(func() { unix.Close() })
		return unix, path
	}
	dead, deadPath := listen(newSocketName())
	dead.Close()
	_, livePath := listen(newSocketName())
	foreign, foreignPath := listen("another-plugin.sock")
	foreign.Close()
	file := filepath.Join(dir, socketPrefix+"notes")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	r := run(t, dir, node.MiB)
	r.state(t, "is not there")
	for path, want := range map[string]bool{deadPath: false, livePath: true, foreignPath: true, file: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: there should be %t: %v", path, want, err)
		}
	}
}

// The list of 256 GiB goes through a real kubelet's limit, and one that is
// longer is cut until it does.
func TestManyDevices(t *testing.T) {
	tests := []struct {
		mib     int
		devices int
		warning string
	}{
		{262144, 262144, ""},
		{300000, 262408, "notAdvertisedMiB=37592 advertisedMiB=262408 epcMiB=300000"},
	}
	for _, test := range tests {
		dir := socketDir(t)
		k := startKubelet(t, dir, nil)
		r := run(t, dir, node.Size(test.mib)*node.MiB)
		p, devices := k.registered(t)
		r.state(t, "")
		if len(devices) != test.devices {
			t.Errorf("%d MiB: %d devices, want %d", test.mib, len(devices), test.devices)
		}
		log := r.log.String()
		if strings.Contains(log, "NOT ALL EPC IS ADVERTISED") != (test.warning != "") || !strings.Contains(log, test.warning) {
			t.Errorf("%d MiB: log:\n%s", test.mib, log)
		}
		last := &v1beta1.AllocateRequest{ContainerRequests: []*v1beta1.ContainerAllocateRequest{{DevicesIds: []string{devices[len(devices)-1].ID}}}}
		if _, err := p.client.Allocate(t.Context(), last); err != nil {
			t.Errorf("%d MiB: the last device: %v", test.mib, err)
		}
		last.ContainerRequests[0].DevicesIds[0] = deviceID(test.devices)
		if _, err := p.client.Allocate(t.Context(), last); status.Code(err) != codes.NotFound {
			t.Errorf("%d MiB: a device beyond the last: %v", test.mib, err)
		}
		r.finish(t, dir)
	}
}
