package deviceplugin

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
)

// What a kubelet makes of the plugin is tested with the kubelet's own device
// manager, in test/cluster/kubelet.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPlugin makes a plugin of command line arguments.
func newPlugin(t *testing.T, args ...string) *Plugin {
	t.Helper()
	p := new(Plugin)
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	p.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return p
}

// environment is what a daemon runs in, and its log.
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
	here := "--device-plugin-dir=" + dir
	long := "/" + strings.Repeat("d", 84)
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"path too long", []string{"--device-plugin-dir=" + long}, []string{long, "has 111 bytes, and Linux allows 107", "--device-plugin-dir"}},
		{"relative path", []string{"--device-plugin-dir=kubelet"}, []string{"--device-plugin-dir=kubelet: not an absolute path"}},
		{"no path", []string{"--device-plugin-dir="}, []string{"--device-plugin-dir=: not an absolute path"}},
		{"relative socket", []string{here, "--pod-resources-socket=x"}, []string{"--pod-resources-socket=x: not an absolute path"}},
		{"relative directory for CDI", []string{here, "--cdi-dir=cdi"}, []string{"--cdi-dir=cdi: not an absolute path"}},
		{"relative directory for NFD", []string{here, "--nfd-features-dir=nfd"}, []string{"--nfd-features-dir=nfd: not an absolute path"}},
		{"no directory", []string{"--device-plugin-dir=" + file + "s"}, []string{file + "s is not there", "Kubernetes node", "--device-plugin-dir"}},
		{"no directory but a file", []string{"--device-plugin-dir=" + file}, []string{file + " is not a directory", "--device-plugin-dir"}},
		{"relative AESM directory", []string{here, "--aesm-dir=aesmd"}, []string{"--aesm-dir=aesmd: not an absolute path"}},
		{"one name for two resources", []string{here, "--epc-resource=sgx.intel.com/enclave"}, []string{"sgx.intel.com/enclave", "two have the same name", "--enclave-resource"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env, _ := environment()
			err := newPlugin(t, test.args...).Run(t.Context(), env)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
		})
	}
}

// What cannot be written keeps the plugin from being ready, and is tried again;
// it costs no more than what depends on it.
func TestCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "dir")
	for _, args := range [][]string{
		{"--cdi", "--cdi-dir=" + below, "--simulate-epc=1Mi", "--simulate-device=/dev/null"},
		{"--nfd-features-dir=" + below, "--simulate-epc=1Mi", "--advertise=node"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		env, _ := environment()
		log := make(lines, 8)
		env.Log = slog.New(slog.NewTextHandler(log, nil))
		p := newPlugin(t, append(args, "--device-plugin-dir="+t.TempDir())...)
		done := make(chan error)
		go func() { done <- p.Run(ctx, env) }()
		for line := ""; !strings.Contains(line, "cannot offer the SGX of this node: it is tried again") || !strings.Contains(line, file); {
			line = <-log
			if strings.Contains(line, "EPC is") {
				t.Errorf("it says that it offers what it does not: %s", line)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// lines has each line that is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// On a node without SGX the plugin idles, and says why in one line.
func TestNoSGX(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env, _ := environment()
	log := make(lines, 8)
	env.Log = slog.New(slog.NewTextHandler(log, nil))
	p := newPlugin(t, "--device-plugin-dir="+t.TempDir(), "--sysroot="+t.TempDir())
	done := make(chan error)
	go func() { done <- p.Run(ctx, env) }()
	first := <-log
	if !strings.Contains(first, "this node has no SGX that pods could use") || !strings.Contains(first, "advice=") {
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

// A plugin that was killed leaves its socket; one that still runs, as during a
// rolling update, keeps it, and so does everybody else.
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
			t.Errorf("%s: there should be %t: %v", path, want, err)
		}
	}
}

func TestSay(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"devices", []string{"--simulate-epc=64Mi", "--reserve-epc=16Mi"}, []string{
			`level=INFO msg="EPC is offered as devices of the kubelet" resource=kubernetes.azure.com/sgx_epc_mem_in_MiB MiB=48 mode=devices reservedMiB=16 source=SIMULATED driver="" device=none`,
		}},
		{"too many devices", []string{"--simulate-epc=32Gi", "--advertise=devices", "--simulate-device=/dev/null"}, []string{
			`level=WARN msg="NOT ALL EPC IS ADVERTISED" resource=kubernetes.azure.com/sgx_epc_mem_in_MiB MiB=8192 withheldMiB=24576 reason="kubelets since 1.36`,
			"device=/dev/sgx_enclave",
		}},
		{"node", []string{"--simulate-epc=512Gi"}, []string{
			`level=INFO msg="EPC is for the status of the node`, "MiB=524288 mode=node", "deviceResource=sgx.intel.com/enclave",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env, log := environment()
			p := newPlugin(t, test.args...)
			inv, err := p.Machine.Discover()
			if err != nil {
				t.Fatal(err)
			}
			p.say(env.Log, inv, p.Policy.For(inv))
			for _, want := range test.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("no %s in\n%s", want, log)
				}
			}
		})
	}
	env, log := environment()
	p := newPlugin(t)
	p.say(env.Log, node.Inventory{Warnings: []string{"it smells"}}, p.Policy.For(node.Inventory{}))
	if !strings.Contains(log.String(), `warning="it smells"`) {
		t.Errorf("log:\n%s", log)
	}
}

func TestResourceSet(t *testing.T) {
	for text, want := range map[string]ResourceSet{
		"epc":                   {EPC: true},
		"epc,enclave":           {EPC: true, Enclave: true},
		"provision,enclave,epc": {EPC: true, Enclave: true, Provision: true},
	} {
		if p := newPlugin(t, "--resources="+text); p.Resources != want {
			t.Errorf("%s: %+v", text, p.Resources)
		}
	}
	for text, want := range map[string]string{
		"":         `"" is not one of epc, enclave, provision`,
		"epc,":     `"" is not one of`,
		"EPC":      `"EPC" is not one of`,
		"epc,all":  `"all" is not one of`,
		"epc, epc": `" epc" is not one of`,
	} {
		set := ResourceSet{EPC: true}
		if err := set.Set(text); err == nil || !strings.Contains(err.Error(), want) || set != (ResourceSet{EPC: true}) {
			t.Errorf("%q: %v, %+v", text, err, set)
		}
	}
}

func TestSlotCount(t *testing.T) {
	for _, text := range []string{"0", "-1", "4097", "many", "", "1.5"} {
		if err := new(SlotCount).Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// The names of metrics are an interface to dashboards and alerts.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	m.collectAllocated(filepath.Join(t.TempDir(), "absent"), "example.com/epc")
	r := m.of("example.com/epc")
	r.registered.Set(1)
	r.allocations.Inc()
	p := newPlugin(t, "--simulate-epc=16Gi", "--advertise=devices", "--reserve-epc=1Mi", "--simulate-device=/dev/null")
	inv, err := p.Machine.Discover()
	if err != nil {
		t.Fatal(err)
	}
	m.observe(inv, p.Policy.For(inv))
	want := `
# HELP sgx_epc_advertised_bytes EPC that pods can be given.
# TYPE sgx_epc_advertised_bytes gauge
sgx_epc_advertised_bytes 8.589934592e+09
# HELP sgx_epc_capacity_bytes EPC that this node has.
# TYPE sgx_epc_capacity_bytes gauge
sgx_epc_capacity_bytes 1.7179869184e+10
# HELP sgx_epc_reserved_bytes EPC that is kept back on request.
# TYPE sgx_epc_reserved_bytes gauge
sgx_epc_reserved_bytes 1.048576e+06
# HELP sgx_epc_withheld_bytes EPC that is not advertised because of a limit on devices.
# TYPE sgx_epc_withheld_bytes gauge
sgx_epc_withheld_bytes 8.588886016e+09
# HELP sgx_device_present 1 if the SGX device is there, else 0.
# TYPE sgx_device_present gauge
sgx_device_present{device="enclave"} 1
sgx_device_present{device="provision"} 1
# HELP sgx_device_plugin_registered 1 while the resource is registered with the kubelet, else 0.
# TYPE sgx_device_plugin_registered gauge
sgx_device_plugin_registered{resource="example.com/epc"} 1
# HELP sgx_device_plugin_registrations_total Registrations with the kubelet that it accepted.
# TYPE sgx_device_plugin_registrations_total counter
sgx_device_plugin_registrations_total{resource="example.com/epc"} 0
# HELP sgx_device_plugin_registration_failures_total Registrations with the kubelet that failed.
# TYPE sgx_device_plugin_registration_failures_total counter
sgx_device_plugin_registration_failures_total{resource="example.com/epc"} 0
# HELP sgx_device_plugin_allocations_total Containers that were given the resource.
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
		t.Errorf("%d resources are said to be registered or not, %v", n, err)
	}
}

// A kubelet that does not answer costs its metric and no other.
func TestMetricsWithoutKubelet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	m.collectAllocated(socket, "example.com/epc")
	families, err := registry.Gather()
	if err == nil || !strings.Contains(err.Error(), socket) || len(families) == 0 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

func TestTellNFD(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "confcom-sgx")
	tell := func(args ...string) {
		t.Helper()
		p := newPlugin(t, append(args, "--nfd-features-dir="+dir)...)
		inv, err := p.Machine.Discover()
		if err != nil {
			t.Fatal(err)
		}
		if err := tellNFD(p.NFDDir, p.Policy.For(inv)); err != nil {
			t.Fatal(err)
		}
	}
	tell("--simulate-epc=512Gi")
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "# +no-label\nsgx.epc-mib=524288\n" {
		t.Errorf("%q, %v", text, err)
	}
	for range 2 {
		tell("--simulate-epc=64Mi")
		if _, err := os.Stat(path); err == nil {
			t.Error("the file is still there")
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}
