package deviceplugin

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/confcom/confcom/internal/daemon"
)

// listenEnv has the test binary listen on the socket that it names, like another plugin,
// until its standard input ends.
const listenEnv = "DEVICEPLUGIN_TEST_SOCKET"

func listenForTest(socket string) {
	if _, err := net.Listen("unix", socket); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("listening")
	_, _ = os.Stdin.Read(make([]byte, 1))
	_ = os.Remove(socket)
	os.Exit(0)
}

// listenElsewhere has another process listen on a socket until stop.
func listenElsewhere(t *testing.T, socket string) (stop func()) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), listenEnv+"="+socket)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		input.Close()
		_ = command.Wait()
	})
	t.Cleanup(stop)
	if _, err := output.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	return stop
}

// allocatableLister is the part of a kubelet that lists its devices.
type allocatableLister struct {
	podresources.UnimplementedPodResourcesListerServer
	mu      sync.Mutex
	devices map[string][]string // by resource
}

func (l *allocatableLister) GetAllocatableResources(context.Context, *podresources.AllocatableResourcesRequest) (*podresources.AllocatableResourcesResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	response := new(podresources.AllocatableResourcesResponse)
	for resource, ids := range l.devices {
		for _, id := range ids { // one at a time, as the kubelet does
			response.Devices = append(response.Devices, &podresources.ContainerDevices{ResourceName: resource, DeviceIds: []string{id}})
		}
	}
	return response, nil
}

func (l *allocatableLister) set(resource string, ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.devices[resource] = ids
}

func TestRivals(t *testing.T) {
	const resource, foreign = "example.com/enclave", "example.com/other"
	dir := t.TempDir()
	kubelet := &allocatableLister{devices: make(map[string][]string)}
	podResources := filepath.Join(t.TempDir(), "kubelet.sock")
	listener, err := net.Listen("unix", podResources)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, kubelet)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		<-served
	}()

	env, _ := environment()
	var log bytes.Buffer
	env.Log = slog.New(slog.NewTextHandler(&log, nil))
	m := NewMetrics(env.Metrics)
	e := newEndpoint(resource, directory{}, env, m)
	idle := newEndpoint(foreign, directory{}, env, m) // not advertised, so it may be somebody else's
	health := new(daemon.Health)
	r := &rivals{
		dir: directory{path: dir}, podResources: podResources, endpoints: []*endpoint{e, idle},
		condition: health.Condition("no other plugin"), metrics: m, log: env.Log, seen: make(map[string]int), resent: make(map[string]string),
	}
	e.advertise(true, supply{devices: 3})
	registered := func() { e.registered.Set(nil) }
	registered()
	ours := []string{"0", "1", "2"}
	kubelet.set(foreign, "x")

	// A socket of this process, and a stale one, are no rival's.
	own, err := net.Listen("unix", filepath.Join(dir, newSocketName()))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	leaveStale(t, filepath.Join(dir, "stale.sock"))

	var stop func()
	const gone, failing = "no other plugin advertises the same resources any more", "look for other plugins failed, retrying"
	working := r.podResources
	start := func(name string) func() { return func() { stop = listenElsewhere(t, filepath.Join(dir, name)) } }
	for _, step := range []struct {
		name    string
		do      func()
		devices []string // of the kubelet
		looks   int
		log     string // in the log, once; "" for nothing
		rival   bool
		resends bool
	}{
		{"alone", nil, ours, 4, "", false, false},
		{"another plugin for something else", start("gpu.sock"), ours, 4, "", false, false},
		{"not registered beside it", func() { e.registered.Set(errRegistering) }, nil, 4, "", false, false},
		{"registered again", registered, ours, 4, "", false, false},
		{"foreign devices, perhaps for a moment", nil, []string{"sgx-enclave-0", "sgx-enclave-1"}, 2, "", false, false},
		{"ours again", nil, ours, 1, "", false, false},
		{"foreign devices", nil, []string{"sgx-enclave-0", "sgx-enclave-1"}, 3, "the kubelet has 2 devices that are not this plugin's, such as sgx-enclave-0, sgx-enclave-1", true, false},
		{"still", nil, []string{"sgx-enclave-0", "sgx-enclave-1"}, 3, "", true, false},
		{"more than ours", nil, []string{"0", "1", "2", "3"}, 1, "1 devices that are not this plugin's, such as 3", true, false},
		{"fewer than ours", nil, []string{"0"}, 1, "the kubelet has 1 devices, this plugin advertises 3", true, false},
		{"none, although registered", nil, nil, 1, "the kubelet has 0 devices, this plugin advertises 3", true, false},
		{"it has gone, and its list stays", func() { stop() }, []string{"sgx-enclave-0"}, 3, "sending the devices again", false, true},
		{"alone again", nil, ours, 1, "", false, false},
		{"a second process of this plugin, as during an update", start(newSocketName()), ours, 2, "", false, false},
		{"a second process of this plugin that stays", nil, ours, 1, "another process of this plugin runs on the node", true, false},
		{"the end of that", func() { stop() }, ours, 1, gone, false, false},
		{"a kubelet that does not answer", func() { r.podResources += "x" }, ours, 2, failing, false, false},
		{"the kubelet answers again", func() { r.podResources = working }, ours, 2, "", false, false},
		{"and fails again", func() { r.podResources += "x" }, ours, 2, failing, false, false},
		{"a second process of this plugin beside many others", func() {
			r.podResources = working
			for _, name := range []string{"a.sock", "b.sock", "c.sock", newSocketName()} {
				start(name)()
			}
		}, ours, 3, "another process of this plugin runs on the node", true, false},
	} {
		if step.do != nil {
			step.do()
		}
		kubelet.set(resource, step.devices...)
		log.Reset()
		_, changed := e.current()
		for range step.looks {
			r.look(t.Context())
		}
		if step.log == "" && log.Len() > 0 || step.log != "" && strings.Count(log.String(), step.log) != 1 {
			t.Errorf("%s: log %q, want %q once", step.name, &log, step.log)
		}
		families, err := env.Metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := false
		for _, family := range families {
			counted = counted || family.GetName() == "sgx_device_plugin_rivals"
		}
		resent := false
		select {
		case <-changed:
			resent = true
		default:
		}
		if counted != step.rival || resent != step.resends {
			t.Errorf("%s: rival in metrics: %t, want %t; sent again: %t, want %t", step.name, counted, step.rival, resent, step.resends)
		}
	}
}

// leaveStale leaves a socket that nobody listens on.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
}
