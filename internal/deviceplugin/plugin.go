// Package deviceplugin offers the EPC of a node to its kubelet as countable
// resources, over the kubelet's device plugin API (v1beta1).
//
// There are up to three resources, each registered by itself. One counts EPC:
// one MiB is one device. One counts the containers that may use the enclave
// device, and one those that may have the provision device. Devices are counted,
// not told apart: what a container gets is the same whichever it is given. So
// there is no state about allocations here, and an allocation is answered at
// once.
//
// The kubelet is a restless peer. It may start after the plugin, it deletes all
// sockets of plugins when it starts, and it says nothing when it forgets one.
// Each resource therefore lives in registrations: a new socket, served before the
// kubelet is told of it, and given up at the first sign that the kubelet no
// longer uses it.
package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// Plugin offers the EPC of a machine to the kubelet. AddFlags gives it its
// defaults. It is not changed once it runs.
type Plugin struct {
	Machine node.Machine
	Policy  epc.Policy
	// Resources are what is offered. Where the EPC is in the node's status, the
	// enclave resource is always one of them and the EPC is none.
	Resources ResourceSet
	// Enclave and Provision are the names of the resources that count users of
	// the two devices, up to Slots each.
	Enclave, Provision epc.ResourceName
	Slots              SlotCount
	// Grant is what containers get.
	Grant Grant
	// DevicePluginDir is the kubelet's directory for sockets of device plugins.
	DevicePluginDir string
	// PodResourcesSocket is where the kubelet tells what pods have been given.
	PodResourcesSocket string
	// NFDDir is the directory for feature files of Node Feature Discovery, where
	// that is to write the EPC into the status of the node; empty for none.
	NFDDir string
}

// Run offers what there is until ctx is done, and returns nil then. Its sockets
// are removed and everything has ended when it returns. While the kubelet or SGX
// is not there, Run waits for it, and what cannot be done it tries again. It
// returns an error when settings contradict each other or are not absolute paths,
// and when the kubelet's directory is not there, has a path that is too long for
// sockets, or is removed.
func (p *Plugin) Run(ctx context.Context, env *daemon.Environment) error {
	if err := p.check(); err != nil {
		return err
	}
	dir, err := findDirectory(p.DevicePluginDir)
	if err != nil {
		return err
	}
	m := newMetrics(env.Metrics)
	m.collectAllocated(p.PodResourcesSocket, p.Policy.Resource)
	looking := env.Health.Condition("machine") // met once what there is has been offered
	all := endpoints{
		epc:       newEndpoint(p.Policy.Resource, dir, env, m),
		enclave:   newEndpoint(p.Enclave, dir, env, m),
		provision: newEndpoint(p.Provision, dir, env, m),
	}
	removeStaleSockets(ctx, dir.path, env.Log)

	group, ctx := errgroup.WithContext(ctx)
	for _, e := range []*endpoint{all.epc, all.enclave, all.provision} {
		group.Go(func() error { return e.run(ctx) })
	}
	group.Go(func() error {
		p.Policy.Watch(ctx, p.Machine, env.Log, looking.Set, func(inv node.Inventory, o epc.Capacity) error {
			if !p.Resources.EPC && o.Mode == epc.Devices {
				o = epc.Capacity{ReservedMiB: o.ReservedMiB + o.MiB + o.WithheldMiB} // none of it, on request
			}
			m.observe(inv, o)
			if err := errors.Join(p.supply(all, inv, o), tellNFD(p.NFDDir, o)); err != nil {
				return err
			}
			p.say(env.Log, inv, o)
			return nil
		})
		return nil
	})
	return group.Wait()
}

// endpoints are those of the three resources.
type endpoints struct{ epc, enclave, provision *endpoint }

// supply offers what there is on a machine, and withdraws what is gone.
func (p *Plugin) supply(all endpoints, inv node.Inventory, o epc.Capacity) error {
	if !inv.Usable() {
		all.epc.withdraw()
		all.enclave.withdraw()
		all.provision.withdraw()
		return nil
	}
	grants, err := p.Grant.For(inv)
	if err != nil {
		return err
	}
	all.epc.offer(o.Mode == epc.Devices, supply{devices: int(o.MiB), numa: numaNodes(inv, o.MiB), grant: grants.enclave})
	all.enclave.offer(o.Mode == epc.Node || p.Resources.Enclave, supply{devices: int(p.Slots), grant: grants.enclave})
	if inv.Provision == nil {
		all.provision.withdraw()
		return nil
	}
	all.provision.offer(p.Resources.Provision, supply{devices: int(p.Slots), grant: grants.provision})
	return nil
}

// check refuses settings that cannot work.
func (p *Plugin) check() error {
	for _, setting := range []struct {
		flag, path string
		optional   bool
	}{
		{"device-plugin-dir", p.DevicePluginDir, false},
		{"pod-resources-socket", p.PodResourcesSocket, true},
		{"nfd-features-dir", p.NFDDir, true},
		{"aesm-dir", p.Grant.AESMDir, true},
		{"cdi-dir", p.Grant.CDIDir, false},
	} {
		if !filepath.IsAbs(setting.path) && (setting.path != "" || !setting.optional) {
			return fmt.Errorf("--%s=%s: not an absolute path, as on the host", setting.flag, setting.path)
		}
	}
	if path := filepath.Join(p.DevicePluginDir, newSocketName()); len(path) > maxSocketPath {
		return fmt.Errorf("socket path %s has %d bytes, and Linux allows %d: use a shorter --device-plugin-dir", path, len(path), maxSocketPath)
	}
	if p.Policy.Resource == p.Enclave || p.Policy.Resource == p.Provision || p.Enclave == p.Provision {
		return fmt.Errorf("of the resources %s two have the same name: give --epc-resource, --enclave-resource and --provision-resource different ones",
			strings.Join([]string{string(p.Policy.Resource), string(p.Enclave), string(p.Provision)}, ", "))
	}
	return nil
}
