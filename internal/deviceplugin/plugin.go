// Package deviceplugin advertises the EPC of a node to its kubelet as countable
// resources, over the kubelet's device plugin API (v1beta1).
//
// There are up to four resources, each with its own registration. One counts EPC,
// one device per MiB. One counts the containers that may share the enclave device,
// one those that may share the provision device, and one the quote helpers. Devices are
// counted but not told apart: every device of a resource gives a container the same. So the
// plugin keeps no state about allocations and answers each one at once.
//
// The kubelet may start after the plugin, it deletes the sockets of all plugins when
// it starts, and it gives no notice when it drops one. The plugin therefore makes a
// new socket for each registration, serves it before it registers, and gives it up at
// the first sign that the kubelet no longer uses it.
package deviceplugin

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/enclavememory"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/peer"
)

// DefaultDevicePluginDir is where the kubelet expects the sockets of device
// plugins. It is a constant of the kubelet, independent of its --root-dir.
const DefaultDevicePluginDir = "/var/lib/kubelet/device-plugins"

// Plugin advertises the EPC of a machine to the kubelet. It must not change while it
// runs.
type Plugin struct {
	Machine node.Machine
	Policy  epc.Policy
	// Resources are advertised. In mode node, the enclave resource always is, and the
	// EPC resource never.
	Resources ResourceSet
	// Enclave and Provision are the names of the resources that count the containers
	// that share the two devices, up to SharedDevices each.
	Enclave, Provision epc.ResourceName
	SharedDevices      SharedDeviceCount
	// Grant is what containers get.
	Grant Grant
	// QuoteWait is how long containers wait for quotes before they start.
	QuoteWait QuoteWait
	// DevicePluginDir is the kubelet's directory for sockets of device plugins.
	DevicePluginDir string
	// PodResourcesSocket is the kubelet's socket for the resources of pods: who holds
	// EPC, for metrics and for changes of the mode; empty for none.
	PodResourcesSocket string
	// StateDir is the directory for the file that says how EPC is advertised, which
	// sgx-node-resource reads; empty for none.
	StateDir string
	// NFDDir is the directory for feature files of Node Feature Discovery, if that
	// writes the EPC into the node's status in mode node; empty if not.
	NFDDir string
	// EnclaveMemory is whether there are metrics of the enclave memory that processes map.
	EnclaveMemory bool
}

// Run advertises the machine's EPC until ctx is done, and then returns nil. By then
// its sockets are removed and everything that it started has ended. While the kubelet
// or SGX is absent, Run waits, and what fails it retries. It returns an error if the
// settings are invalid, and if the kubelet's directory does not exist or is removed.
func (p *Plugin) Run(ctx context.Context, env *daemon.Environment) error {
	if err := p.check(); err != nil {
		return err
	}
	dir, err := findDirectory(p.DevicePluginDir)
	if err != nil {
		return err
	}
	m := NewMetrics(env.Metrics)
	m.allocated.collectFrom(p.PodResourcesSocket, p.Policy.Resource)
	machine := env.Health.Condition("machine") // met once the machine's SGX is advertised
	all := endpoints{
		epc:       newEndpoint(p.Policy.Resource, dir, env, m),
		enclave:   newEndpoint(p.Enclave, dir, env, m),
		provision: newEndpoint(p.Provision, dir, env, m),
		helper:    newEndpoint(QuoteHelper, dir, env, m),
	}
	for _, e := range []*endpoint{all.epc, all.enclave} { // whose containers get the AESM directory
		e.quotes = p.quoteWait(e.log)
	}
	mode := newModeSwitch(p, all, env, m)
	mode.serving = removeStaleSockets(ctx, dir.path, env.Log)
	defer func() {
		if err := removeFeatureFile(p.NFDDir); err != nil {
			env.Log.Warn("remove feature file failed", "error", err)
		}
		// During an update, the file says what the other instance advertises.
		if !removeStaleSockets(context.WithoutCancel(ctx), dir.path, env.Log) {
			mode.unpublish()
		}
	}()

	group, ctx := errgroup.WithContext(ctx)
	for _, e := range []*endpoint{all.epc, all.enclave, all.provision, all.helper} {
		group.Go(func() error { return e.run(ctx) })
	}
	if p.PodResourcesSocket != "" {
		group.Go(func() error {
			p.rivals(all, dir, env, m).run(ctx)
			return nil
		})
	}
	group.Go(func() error {
		p.Policy.Watch(ctx, p.Machine, env.Log, machine.Set, func(inv node.Inventory, c epc.Capacity) error {
			return mode.machine(ctx, inv, p.allowed(c))
		})
		return nil
	})
	group.Go(func() error {
		mode.run(ctx)
		return nil
	})
	if p.EnclaveMemory {
		procfs := filepath.Join(p.Machine.Sysroot, "proc")
		find := enclavememory.Finder{Procfs: procfs, Locator: peer.NewLocator(procfs, "", "")}.Find
		metrics := enclavememory.NewMetrics(env.Metrics)
		group.Go(func() error {
			metrics.Watch(ctx, env.Log, find)
			return nil
		})
	}
	return group.Wait()
}

// rivals returns what looks for other plugins for the same resources.
func (p *Plugin) rivals(all endpoints, dir directory, env *daemon.Environment, m *Metrics) *rivals {
	return &rivals{
		dir: dir, podResources: p.PodResourcesSocket, endpoints: []*endpoint{all.epc, all.enclave, all.provision, all.helper},
		condition: env.Health.Condition("no other plugin"), metrics: m, log: env.Log, seen: make(map[string]int), resent: make(map[string]string),
	}
}

// endpoints are those of the resources.
type endpoints struct{ epc, enclave, provision, helper *endpoint }

// allowed returns how much of a capacity may be advertised: nothing as devices unless the
// EPC resource is.
func (p *Plugin) allowed(c epc.Capacity) epc.Capacity {
	if !p.Resources.EPC && c.Mode == epc.Devices {
		return epc.Capacity{ReservedMiB: c.ReservedMiB + c.MiB + c.WithheldMiB}
	}
	return c
}

// statusIsWritten reports whether something writes EPC into the node's status in mode node.
func (p *Plugin) statusIsWritten() bool { return p.StateDir != "" || p.NFDDir != "" }

// acknowledged reports whether sgx-node-resource has done what the file says. Node Feature
// Discovery, which may take its place, acknowledges nothing.
func (p *Plugin) acknowledged() (bool, error) {
	if p.StateDir == "" || p.NFDDir != "" {
		return true, nil
	}
	return epc.Acknowledged(p.StateDir)
}

// advertise advertises what a machine has, and withdraws what it no longer has. EPC as
// devices is advertised only if devices is true.
func (p *Plugin) advertise(all endpoints, inv node.Inventory, c epc.Capacity, devices bool) error {
	if !inv.Usable() {
		all.epc.withdraw()
		all.enclave.withdraw()
		all.provision.withdraw()
		p.advertiseHelper(all.helper, inv, new(v1beta1.ContainerAllocateResponse))
		return nil
	}
	grants, err := p.Grant.For(inv)
	if err != nil {
		return err
	}
	all.epc.advertise(devices && c.Mode == epc.Devices, supply{devices: int(c.MiB), numa: numaNodes(inv, c.MiB), grant: grants.enclave})
	all.enclave.advertise(c.Mode == epc.Node || p.Resources.Enclave, supply{devices: int(p.SharedDevices), grant: grants.enclave})
	p.advertiseHelper(all.helper, inv, grants.quoteHelper)
	if inv.Provision == nil {
		all.provision.withdraw()
		return nil
	}
	all.provision.advertise(p.Resources.Provision, supply{devices: int(p.SharedDevices), grant: grants.provision})
	return nil
}

// advertiseHelper advertises the resource of the quote helper. On a machine on which there
// will be no SGX before it restarts, the resource gives nothing: the helper idles there, and
// its DaemonSet is complete. On a machine that lacks a driver, the helper waits for it.
func (p *Plugin) advertiseHelper(e *endpoint, inv node.Inventory, grant *v1beta1.ContainerAllocateResponse) {
	if !inv.Usable() && !inv.SGXOff() {
		e.withdraw()
		return
	}
	e.advertise(p.Resources.QuoteHelper, supply{devices: quoteHelpers, grant: grant})
}

// check rejects settings that cannot work.
func (p *Plugin) check() error {
	for _, setting := range []struct {
		name, path string
		optional   bool
	}{
		{"device plugin directory", p.DevicePluginDir, false},
		{"pod resources socket", p.PodResourcesSocket, true},
		{"NFD features directory", p.NFDDir, true},
		{"state directory", p.StateDir, true},
		{"AESM directory", p.Grant.AESMDir, true},
		{"CDI directory", p.Grant.CDIDir, false},
	} {
		if !filepath.IsAbs(setting.path) && (setting.path != "" || !setting.optional) {
			return fmt.Errorf("%s %q: not an absolute path on the host", setting.name, setting.path)
		}
	}
	if path := filepath.Join(p.DevicePluginDir, newSocketName()); len(path) > maxSocketPath {
		return fmt.Errorf("socket path %s has %d bytes, and Linux allows %d: use a shorter device plugin directory", path, len(path), maxSocketPath)
	}
	if err := p.QuoteWait.check(); err != nil {
		return err
	}
	names := []epc.ResourceName{p.Policy.Resource, p.Enclave, p.Provision, QuoteHelper}
	if slices.Sort(names); len(slices.Compact(names)) < 4 {
		return fmt.Errorf("two of the resources have the same name: EPC %s, enclave %s, provision %s, quote helper %s", p.Policy.Resource, p.Enclave, p.Provision, QuoteHelper)
	}
	return nil
}
