package deviceplugin

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
)

// The plugin is tested against the kubelet's own device manager in
// test/cluster/kubelet.

const giB = 1024 * node.MiB

func TestMain(m *testing.M) {
	if socket := os.Getenv(listenEnv); socket != "" {
		listenForTest(socket)
	}
	goleak.VerifyTestMain(m)
}

// newPlugin returns a plugin with settings that differ from the usual ones by edits.
func newPlugin(edits ...func(*Plugin)) *Plugin {
	p := &Plugin{
		Policy:             epc.Policy{Resource: epc.DefaultResource},
		Resources:          ResourceSet{EPC: true},
		Enclave:            "sgx.intel.com/enclave",
		Provision:          "sgx.intel.com/provision",
		SharedDevices:      256,
		Grant:              Grant{AESMDir: DefaultAESMDir, CDIDir: "/var/run/cdi"},
		DevicePluginDir:    DefaultDevicePluginDir,
		PodResourcesSocket: "/nonexistent/kubelet.sock", // not that of a kubelet on this machine
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

// simulate simulates EPC, with a device or without.
func simulate(size node.Size, device string) func(*Plugin) {
	return func(p *Plugin) { p.Machine = node.Machine{SimulatedEPC: size, SimulatedDevice: device} }
}

// environment returns the environment of a daemon, and its log.
func environment() (*daemon.Environment, *bytes.Buffer) {
	log := new(bytes.Buffer)
	return &daemon.Environment{
		Log:     slog.New(slog.NewTextHandler(log, nil)),
		Health:  new(daemon.Health),
		Metrics: prometheus.NewRegistry(),
	}, log
}

func TestCannotRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := "/" + strings.Repeat("d", 84)
	tests := []struct {
		name string
		edit func(*Plugin)
		want []string
	}{
		{"path too long", func(p *Plugin) { p.DevicePluginDir = long }, []string{long, "has 111 bytes, and Linux allows 107", "use a shorter device plugin directory"}},
		{"relative path", func(p *Plugin) { p.DevicePluginDir = "kubelet" }, []string{`device plugin directory "kubelet": not an absolute path`}},
		{"no path", func(p *Plugin) { p.DevicePluginDir = "" }, []string{`device plugin directory "": not an absolute path`}},
		{"relative socket", func(p *Plugin) { p.PodResourcesSocket = "x" }, []string{`pod resources socket "x": not an absolute path`}},
		{"relative directory for CDI", func(p *Plugin) { p.Grant.CDIDir = "cdi" }, []string{`CDI directory "cdi": not an absolute path`}},
		{"relative directory for NFD", func(p *Plugin) { p.NFDDir = "nfd" }, []string{`NFD features directory "nfd": not an absolute path`}},
		{"missing directory", func(p *Plugin) { p.DevicePluginDir = file + "s" }, []string{file + "s does not exist", "Kubernetes node"}},
		{"file instead of directory", func(p *Plugin) { p.DevicePluginDir = file }, []string{file + " is not a directory"}},
		{"relative AESM directory", func(p *Plugin) { p.Grant.AESMDir = "aesmd" }, []string{`AESM directory "aesmd": not an absolute path`}},
		{"a wait longer than the kubelet's", func(p *Plugin) { p.QuoteWait.Timeout = 30 * time.Second }, []string{"wait for quotes of 30s: not between 0 and 25s"}},
		{"one name for two resources", func(p *Plugin) { p.Policy.Resource = p.Enclave }, []string{"two of the resources have the same name", "EPC sgx.intel.com/enclave, enclave sgx.intel.com/enclave"}},
		{"the name of the quote helper's resource", func(p *Plugin) { p.Provision = QuoteHelper }, []string{"provision confcom.github.io/quote-helper, quote helper confcom.github.io/quote-helper"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env, _ := environment()
			p := newPlugin(func(p *Plugin) { p.DevicePluginDir = dir }, test.edit)
			err := p.Run(t.Context(), env)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
		})
	}
}

// A file that cannot be written is retried, and nothing that depends on it is
// advertised meanwhile.
func TestCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "dir")
	for _, edit := range []func(*Plugin){
		func(p *Plugin) {
			p.Grant.CDI, p.Grant.CDIDir = true, below
			p.Machine.SimulatedDevice = "/dev/null"
		},
		func(p *Plugin) { p.NFDDir, p.Policy.Mode = below, epc.Node },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		env, _ := environment()
		log := make(lines, 8)
		env.Log = slog.New(slog.NewTextHandler(log, nil))
		p := newPlugin(simulate(node.MiB, ""), func(p *Plugin) { p.DevicePluginDir = t.TempDir() }, edit)
		done := make(chan error)
		go func() { done <- p.Run(ctx, env) }()
		for line := ""; !strings.Contains(line, "advertise SGX failed, retrying") || !strings.Contains(line, file); {
			line = <-log
			if strings.Contains(line, "EPC is") {
				t.Errorf("logged as advertised despite the failure: %s", line)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// lines receives each line of a log.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// The metrics of enclave memory are there if they are wanted, whatever SGX the node has.
func TestEnclaveMemory(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	root := nodetest.Tree{
		"proc/7/maps":   "7f0000000000-7f0000200000 rw-s 00000000 00:05 84 /dev/sgx_enclave\n",
		"proc/7/cgroup": "0::/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/x\n",
		"proc/7/comm":   "app\n",
	}.Make(t)
	env, _ := environment()
	log := make(lines, 8)
	env.Log = slog.New(slog.NewTextHandler(log, nil))
	p := newPlugin(func(p *Plugin) {
		p.DevicePluginDir, p.Machine.Sysroot, p.EnclaveMemory = t.TempDir(), root, true
	})
	done := make(chan error)
	go func() { done <- p.Run(ctx, env) }()
	for line := range log {
		if strings.Contains(line, "cannot examine all processes for enclave memory") {
			break // there is no process of the kernel, so it has examined them
		}
	}
	want := `# HELP sgx_enclave_memory_pod_mapped_bytes Enclave memory that the processes of a pod map, by its UID, for the 256 pods that map the most.
# TYPE sgx_enclave_memory_pod_mapped_bytes gauge
sgx_enclave_memory_pod_mapped_bytes{uid="2c48913c-b29f-11e7-9350-020968147796"} 2.097152e+06
`
	if err := testutil.GatherAndCompare(env.Metrics, strings.NewReader(want), "sgx_enclave_memory_pod_mapped_bytes"); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// On a node without SGX the plugin idles, and logs why in one line.
func TestNoSGX(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env, _ := environment()
	log := make(lines, 8)
	env.Log = slog.New(slog.NewTextHandler(log, nil))
	p := newPlugin(func(p *Plugin) { p.DevicePluginDir, p.Machine.Sysroot = t.TempDir(), t.TempDir() })
	done := make(chan error)
	go func() { done <- p.Run(ctx, env) }()
	first := <-log
	if !strings.Contains(first, "no usable SGX, advertising nothing") || !strings.Contains(first, "advice=") {
		t.Errorf("log: %s", first)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(log) > 0 {
		t.Errorf("log: %s", <-log)
	}
}

// What a plugin has written goes when it ends, unless another instance of it runs.
func TestAdvertisementAtTheEnd(t *testing.T) {
	for _, another := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		env, _ := environment()
		log := make(lines, 8)
		env.Log = slog.New(slog.NewTextHandler(log, nil))
		p := newPlugin(func(p *Plugin) {
			p.DevicePluginDir, p.StateDir, p.Machine.Sysroot = t.TempDir(), t.TempDir(), t.TempDir()
		})
		if another {
			listener, err := net.Listen("unix", filepath.Join(p.DevicePluginDir, newSocketName()))
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
		}
		done := make(chan error)
		go func() { done <- p.Run(ctx, env) }()
		<-log // that it idles
		if _, err := epc.ReadAdvertisement(p.StateDir); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := epc.ReadAdvertisement(p.StateDir); (err == nil) != another {
			t.Errorf("another instance runs: %t; at the end: %v", another, err)
		}
	}
}

// The quote helper gets its resource wherever it can make quotes, and where it never can, so
// that it idles there. Where a driver is missing, it waits.
func TestAdvertiseToQuoteHelper(t *testing.T) {
	off := node.Inventory{Processor: new(node.Processor)}
	waiting := node.Inventory{Processor: &node.Processor{SGX: true, SGX1: true}, Sections: []node.Section{{Size: 64 * node.MiB}}}
	ready := inKernel
	ready.Sections = waiting.Sections
	const none = -1
	for _, tt := range []struct {
		name      string
		resources string
		machines  []node.Inventory // one after the other
		places    int
		devices   int // of each place
	}{
		{"SGX", "epc,quote-helper", []node.Inventory{ready}, 8, 2},
		{"no such resource", "epc,provision", []node.Inventory{ready}, none, 0},
		{"no SGX", "epc,quote-helper", []node.Inventory{off}, 8, 0},
		{"no SGX, no such resource", "epc", []node.Inventory{off}, none, 0},
		{"no driver", "epc,quote-helper", []node.Inventory{waiting}, none, 0},
		{"the driver has gone", "epc,quote-helper", []node.Inventory{ready, waiting}, 0, 0},
		{"the driver is there again", "epc,quote-helper", []node.Inventory{ready, waiting, ready}, 8, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, _ := environment()
			p := newPlugin()
			if err := p.Resources.UnmarshalText([]byte(tt.resources)); err != nil {
				t.Fatal(err)
			}
			m := NewMetrics(env.Metrics)
			of := func(name epc.ResourceName) *endpoint { return newEndpoint(name, directory{}, env, m) }
			all := endpoints{epc: of(p.Policy.Resource), enclave: of(p.Enclave), provision: of(p.Provision), helper: of(QuoteHelper)}
			for _, inv := range tt.machines {
				if err := p.advertise(all, inv, p.Policy.For(inv), true); err != nil {
					t.Fatal(err)
				}
			}
			places, devices := none, 0
			if advertised, _ := all.helper.current(); advertised != nil {
				places, devices = advertised.devices, len(advertised.grant.GetDevices())
			}
			if places != tt.places || devices != tt.devices {
				t.Errorf("%d places with %d devices each, want %d with %d", places, devices, tt.places, tt.devices)
			}
		})
	}
}

// The socket of a plugin that was killed is removed. Those of a plugin that still
// runs, as during a rolling update, and of other plugins are not.
func TestStaleSockets(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string) (*net.UnixListener, string) {
		path := filepath.Join(dir, name)
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		listener.SetUnlinkOnClose(false)
		t.Cleanup(func() { listener.Close() })
		return listener, path
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

	removeStaleSockets(t.Context(), dir, slog.New(slog.DiscardHandler))
	for path, want := range map[string]bool{deadPath: false, livePath: true, foreignPath: true, file: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: exists: %t, want %t", path, err == nil, want)
		}
	}
}

func TestLogCapacity(t *testing.T) {
	tests := []struct {
		name  string
		edits []func(*Plugin)
		want  []string
	}{
		{"devices", []func(*Plugin){simulate(64*node.MiB, ""), func(p *Plugin) { p.Policy.Reserve = 16 * node.MiB }}, []string{
			`level=INFO msg="EPC is advertised as devices" resource=kubernetes.azure.com/sgx_epc_mem_in_MiB MiB=48 mode=devices reservedMiB=16 source=SIMULATED driver="" device=none`,
		}},
		{"too many devices", []func(*Plugin){simulate(32*giB, "/dev/null"), func(p *Plugin) { p.Policy.Mode = epc.Devices }}, []string{
			`level=WARN msg="not all EPC is advertised" resource=kubernetes.azure.com/sgx_epc_mem_in_MiB MiB=8192 withheldMiB=24576 reason="with more than 8192 devices, kubelets since 1.36`,
			"device=/dev/sgx_enclave",
		}},
		{"node", []func(*Plugin){simulate(512*giB, "")}, []string{
			`level=INFO msg="EPC is advertised in the node status"`, "MiB=524288 mode=node", "writer=sgx-node-resource deviceResource=sgx.intel.com/enclave",
		}},
		{"node, with Node Feature Discovery", []func(*Plugin){simulate(512*giB, ""), func(p *Plugin) { p.NFDDir = "/nfd" }}, []string{
			`level=INFO msg="EPC is advertised in the node status"`, `writer="Node Feature Discovery"`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env, log := environment()
			p := newPlugin(test.edits...)
			inv, err := p.Machine.Discover()
			if err != nil {
				t.Fatal(err)
			}
			p.logCapacity(env.Log, inv, p.Policy.For(inv))
			for _, want := range test.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("no %s in\n%s", want, log)
				}
			}
		})
	}
	env, log := environment()
	newPlugin().logCapacity(env.Log, node.Inventory{Warnings: []string{"a warning"}}, epc.Capacity{})
	if !strings.Contains(log.String(), `warning="a warning"`) {
		t.Errorf("log:\n%s", log)
	}
}

func TestResourceSet(t *testing.T) {
	for text, want := range map[string]ResourceSet{
		"epc":                   {EPC: true},
		"epc,enclave":           {EPC: true, Enclave: true},
		"provision,enclave,epc": {EPC: true, Enclave: true, Provision: true},
		"epc,quote-helper":      {EPC: true, QuoteHelper: true},
	} {
		var set ResourceSet
		if err := set.UnmarshalText([]byte(text)); err != nil || set != want {
			t.Errorf("%s: %+v, %v", text, set, err)
		}
	}
	for text, want := range map[string]string{
		"":         `"" is not one of epc, enclave, provision, quote-helper`,
		"epc,":     `"" is not one of`,
		"EPC":      `"EPC" is not one of`,
		"epc,all":  `"all" is not one of`,
		"epc, epc": `" epc" is not one of`,
	} {
		set := ResourceSet{EPC: true}
		if err := set.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || set != (ResourceSet{EPC: true}) {
			t.Errorf("%q: %v, %+v", text, err, set)
		}
	}
	if text, err := (ResourceSet{EPC: true, Provision: true}).MarshalText(); string(text) != "epc,provision" || err != nil {
		t.Errorf("%s, %v", text, err)
	}
}

func TestSharedDeviceCount(t *testing.T) {
	for _, text := range []string{"0", "-1", "4097", "many", "", "1.5"} {
		if err := new(SharedDeviceCount).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	for _, text := range []string{"1", "4096"} {
		var n SharedDeviceCount
		if err := n.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if again, err := n.MarshalText(); string(again) != text || err != nil {
			t.Errorf("%q: %s, %v", text, again, err)
		}
	}
}

// The names of metrics are an interface to dashboards and alerts.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.allocated.collectFrom(filepath.Join(t.TempDir(), "absent"), "example.com/epc")
	r := m.of("example.com/epc")
	r.registered.Set(1)
	r.allocations.Inc()
	p := newPlugin(simulate(16*giB, "/dev/null"), func(p *Plugin) { p.Policy.Mode, p.Policy.Reserve = epc.Devices, node.MiB })
	inv, err := p.Machine.Discover()
	if err != nil {
		t.Fatal(err)
	}
	m.observe(inv, p.Policy.For(inv))
	want := `
# HELP sgx_epc_advertised_bytes EPC that pods can request.
# TYPE sgx_epc_advertised_bytes gauge
sgx_epc_advertised_bytes 8.589934592e+09
# HELP sgx_epc_capacity_bytes EPC of the node.
# TYPE sgx_epc_capacity_bytes gauge
sgx_epc_capacity_bytes 1.7179869184e+10
# HELP sgx_epc_holding_pods Pods that keep the node from advertising EPC in the mode that is wanted.
# TYPE sgx_epc_holding_pods gauge
sgx_epc_holding_pods 0
# HELP sgx_epc_reserved_bytes EPC that the configuration holds back.
# TYPE sgx_epc_reserved_bytes gauge
sgx_epc_reserved_bytes 1.048576e+06
# HELP sgx_epc_withheld_bytes EPC that is not advertised because of the cap on devices.
# TYPE sgx_epc_withheld_bytes gauge
sgx_epc_withheld_bytes 8.588886016e+09
# HELP sgx_device_present 1 if the SGX device exists, else 0.
# TYPE sgx_device_present gauge
sgx_device_present{device="enclave"} 1
sgx_device_present{device="provision"} 1
# HELP sgx_device_plugin_registered 1 while the resource is registered with the kubelet, else 0.
# TYPE sgx_device_plugin_registered gauge
sgx_device_plugin_registered{resource="example.com/epc"} 1
# HELP sgx_device_plugin_registrations_total Registrations that the kubelet accepted.
# TYPE sgx_device_plugin_registrations_total counter
sgx_device_plugin_registrations_total{resource="example.com/epc"} 0
# HELP sgx_device_plugin_registration_failures_total Registrations with the kubelet that failed.
# TYPE sgx_device_plugin_registration_failures_total counter
sgx_device_plugin_registration_failures_total{resource="example.com/epc"} 0
# HELP sgx_device_plugin_allocations_total Containers that were allocated the resource.
# TYPE sgx_device_plugin_allocations_total counter
sgx_device_plugin_allocations_total{resource="example.com/epc"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	m.forget("example.com/epc")
	if n, err := testutil.GatherAndCount(registry, "sgx_device_plugin_registered"); n != 0 || err != nil {
		t.Errorf("%d resources with a state after forget, %v", n, err)
	}
}

// A kubelet that does not respond costs its own metric and no other.
func TestMetricsWithoutKubelet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	registry := prometheus.NewRegistry()
	NewMetrics(registry).allocated.collectFrom(socket, "example.com/epc")
	families, err := registry.Gather()
	if err == nil || !strings.Contains(err.Error(), socket) || len(families) == 0 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

func TestFeatureFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "confcom-sgx")
	write := func(c epc.Capacity) {
		t.Helper()
		if err := writeFeatureFile(dir, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, mib := range []int64{524288, 262144} {
		write(epc.Capacity{Mode: epc.Node, MiB: mib})
		text, err := os.ReadFile(path)
		if want := fmt.Sprintf("\n# +no-label\nsgx.epc-mib=%d\n", mib); !strings.HasPrefix(string(text), "# written by ") || !strings.HasSuffix(string(text), want) || err != nil {
			t.Errorf("%q, %v; want %q", text, err, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("files: %v", entries)
		}
	}
	for range 2 {
		write(epc.Capacity{Mode: epc.Devices, MiB: 64})
		if _, err := os.Stat(path); err == nil {
			t.Error("the file still exists in mode devices")
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}

// A plugin that ends removes its own feature file, and not that of its successor.
func TestFeatureFileAtEnd(t *testing.T) {
	const successors = "# written by sgx-device-plugin on another-pod\n# +no-label\nsgx.epc-mib=1\n"
	for _, tt := range []struct {
		name  string
		write func(path string) error
		left  bool
	}{
		{"its own", func(path string) error {
			return writeFeatureFile(filepath.Dir(path), epc.Capacity{Mode: epc.Node, MiB: 1})
		}, false},
		{"its successor's", func(path string) error { return os.WriteFile(path, []byte(successors), 0o600) }, true},
		{"none", func(string) error { return nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "confcom-sgx")
			if err := tt.write(path); err != nil {
				t.Fatal(err)
			}
			if err := removeFeatureFile(dir); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path); (err == nil) != tt.left {
				t.Errorf("left: %t, want %t", err == nil, tt.left)
			}
		})
	}
	if err := removeFeatureFile(""); err != nil {
		t.Error(err)
	}
}
