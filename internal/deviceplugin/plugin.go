// Package deviceplugin offers the EPC of a node to its kubelet as a countable
// resource, over the kubelet's device plugin API (v1beta1).
//
// One MiB of EPC is one device. Devices are counted, not told apart: a limit of
// kubernetes.azure.com/sgx_epc_mem_in_MiB: 10 takes ten of them, and what the
// container gets is the same whichever ten they are. So there is no state about
// allocations here, and an allocation is answered at once.
//
// The kubelet is a restless peer. It may start after the plugin, it deletes all
// sockets of plugins when it starts, and it says nothing when it forgets one.
// Plugin therefore lives in registrations: a new socket, served before the
// kubelet is told of it, and given up at the first sign that the kubelet no
// longer uses it.
package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/confcom/confcom/internal/node"
)

// Resource is the name that pods use in their limits. It counts MiB of EPC.
const Resource = "kubernetes.azure.com/sgx_epc_mem_in_MiB"

// DefaultKubeletDir is where the kubelet expects the sockets of device plugins.
// It is a constant of the kubelet, whatever its --root-dir.
const DefaultKubeletDir = "/var/lib/kubelet/device-plugins"

// DefaultAESMDir is where Intel's client library looks for the AESM socket.
const DefaultAESMDir = "/var/run/aesmd"

// The time between two tries to register, while nothing in the kubelet's
// directory says that it is worth trying again at once. It doubles each time.
const (
	minRetry = 200 * time.Millisecond
	maxRetry = 30 * time.Second
)

// Plugin offers an Inventory to the kubelet. Its fields are set before Run and
// not changed after.
type Plugin struct {
	Inventory  node.Inventory
	KubeletDir string // the kubelet's directory for sockets of device plugins
	AESMDir    string // directory on the host that containers see as DefaultAESMDir; empty for none
	Log        *slog.Logger

	// Registered, unless nil, is told whenever the plugin has registered (nil)
	// or why it is not registered.
	Registered func(unmet error)
}

// Run offers the inventory until ctx is done, and returns nil then. The socket
// is removed and everything has ended when it returns. While the kubelet is not
// there, Run waits for it. It returns an error when the kubelet's directory is
// not there or has a path that is too long for sockets.
func (p *Plugin) Run(ctx context.Context) error {
	if path := filepath.Join(p.KubeletDir, newSocketName()); len(path) > maxSocketPath {
		return fmt.Errorf("socket path %s has %d bytes, and Linux allows %d: use a shorter --kubelet-dir", path, len(path), maxSocketPath)
	}
	if !filepath.IsAbs(p.KubeletDir) {
		return fmt.Errorf("kubelet directory %q is not an absolute path: give --kubelet-dir as one", p.KubeletDir)
	}
	if p.AESMDir != "" && !filepath.IsAbs(p.AESMDir) {
		return fmt.Errorf("AESM directory %s is not an absolute path: give --aesm-dir as the path on the host", p.AESMDir)
	}
	// The watch comes first: from here on nothing that the kubelet does to its
	// directory goes unnoticed.
	dir, err := openDirectory(p.KubeletDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	removeStaleSockets(ctx, dir.path, p.Log)

	devices := p.advertise()
	retry, said := minRetry, ""
	for {
		registered, err := p.registration(ctx, dir, devices)
		if ctx.Err() != nil {
			return nil
		}
		p.report(err)
		if errors.Is(err, errDirectoryGone) {
			return err
		}
		// The same reason is worth one line, however often it is met in a row.
		level := slog.LevelWarn
		if !registered && err.Error() == said {
			level = slog.LevelDebug
		}
		said = err.Error()
		p.Log.Log(ctx, level, "not registered with the kubelet", "reason", err)

		if registered {
			retry = minRetry
		}
		if dir.pause(ctx, retry, p.Log) {
			retry = minRetry
		} else {
			retry = min(2*retry, maxRetry)
		}
	}
}

// advertise decides how many devices to offer and says so.
func (p *Plugin) advertise() int {
	epc := p.Inventory.EPC().MiB()
	devices := countFitting(epc)
	if left := epc - uint64(devices); left > 0 {
		p.Log.Warn("NOT ALL EPC IS ADVERTISED: the list would be longer than the message that a kubelet accepts",
			"notAdvertisedMiB", left, "advertisedMiB", devices, "epcMiB", epc, "messageLimitBytes", maxMessage)
	}
	device := p.Inventory.Device
	if device == "" {
		device = "none"
	}
	p.Log.Info("advertising EPC", "resource", Resource, "MiB", devices, "source", p.Inventory.Source(), "device", device)
	return devices
}

func (p *Plugin) report(unmet error) {
	if p.Registered != nil {
		p.Registered(unmet)
	}
}
