package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/confcom/confcom/internal/daemon"
)

const (
	// rivalInterval is the time between two looks for rivals.
	rivalInterval = 20 * time.Second
	// rivalLooks is in how many looks, one after the other, a rival must be seen. During
	// an update two instances of this plugin run for some seconds.
	rivalLooks = 3
	// maxCompared is up to how many devices are compared even if no other plugin is there:
	// as many as newer kubelets can handle. Older ones have forgotten a plugin's devices
	// when this one registers again.
	maxCompared = 10 << 10
	// maxNamed is how many devices and sockets are named.
	maxNamed = 3
)

// rivals looks for plugins that advertise the same resources. The kubelet does not say
// so: older ones let two plugins replace each other, and newer ones keep both, with the
// devices of the one that has sent its list last, so that containers get the devices of
// either. What can be seen is the sockets in the kubelet's directory, and which devices the
// kubelet has of each resource.
type rivals struct {
	dir          directory
	podResources string // the kubelet's socket
	endpoints    []*endpoint
	condition    *daemon.Condition
	metrics      *Metrics
	log          *slog.Logger

	seen   map[string]int    // in how many looks, by resource
	resent map[string]string // why the devices were last sent again, by resource
	failed string            // why the last look failed, as it was logged
	rival  string            // the rivals that were last logged
}

// run looks for rivals until ctx is done.
func (r *rivals) run(ctx context.Context) {
	r.condition.Set(nil)
	ticker := time.NewTicker(rivalInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.look(ctx)
		}
	}
}

// look looks once.
func (r *rivals) look(ctx context.Context) {
	sockets := r.sockets(ctx)
	found, err := make(map[string]string), error(nil)
	if len(sockets) > 0 || r.devices() <= maxCompared {
		found, err = r.compare(ctx, sockets)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if err.Error() != r.failed {
			r.failed = err.Error()
			r.log.Warn("look for other plugins failed, retrying", "error", err)
		}
		return
	}
	r.failed = ""
	var unmet []error
	for _, e := range r.endpoints {
		what, differs := found[e.resource]
		rival := differs && len(sockets) > 0
		if differs && !rival {
			// The kubelet keeps the list of a plugin that has gone.
			level := slog.LevelInfo
			if r.resent[e.resource] == what {
				level = slog.LevelDebug
			}
			r.log.Log(ctx, level, "kubelet has other devices, sending the devices again", "resource", e.resource, "reason", what)
			r.resent[e.resource] = what
			e.resend()
		} else {
			delete(r.resent, e.resource)
		}
		if !rival {
			r.seen[e.resource] = 0
			r.metrics.rivals.DeleteLabelValues(e.resource)
			continue
		}
		if r.seen[e.resource]++; r.seen[e.resource] >= rivalLooks {
			r.metrics.rivals.WithLabelValues(e.resource).Set(1)
			unmet = append(unmet, fmt.Errorf("another plugin advertises %s as well: %s: remove that plugin, or give the resource another name", e.resource, what))
		}
	}
	problem := errors.Join(unmet...)
	r.condition.Set(problem)
	switch {
	case problem != nil:
		if problem.Error() != r.rival {
			r.rival = problem.Error()
			r.log.Warn("another plugin advertises the same resource", "error", problem, "sockets", sockets[:min(maxNamed, len(sockets))],
				"advice", "remove that plugin, or give the resource another name: containers get the devices of either")
		}
	case r.rival != "":
		r.log.Info("no other plugin advertises the same resources any more")
		r.rival = ""
	}
}

// compare returns what is wrong with each resource of which the kubelet has other devices
// than this plugin's, or that another instance of this plugin may advertise.
func (r *rivals) compare(ctx context.Context, sockets []string) (map[string]string, error) {
	has, err := listAllocatable(ctx, r.podResources)
	if err != nil {
		return nil, err
	}
	twin := slices.ContainsFunc(sockets, func(name string) bool { return strings.HasPrefix(name, socketPrefix) })
	found := make(map[string]string)
	for _, e := range r.endpoints {
		advertised, _ := e.current()
		if advertised == nil {
			continue // then it may be another plugin's
		}
		foreign := slices.DeleteFunc(slices.Clone(has[e.resource]), func(id string) bool {
			i, ok := deviceIndex(id)
			return ok && i < advertised.devices
		})
		switch {
		case len(has[e.resource]) == 0 && !e.isRegistered():
			// The endpoint's own condition says why.
		case len(foreign) > 0:
			found[e.resource] = fmt.Sprintf("the kubelet has %d devices that are not this plugin's, such as %s", len(foreign), strings.Join(foreign[:min(maxNamed, len(foreign))], ", "))
		case len(has[e.resource]) != advertised.devices:
			found[e.resource] = fmt.Sprintf("the kubelet has %d devices, this plugin advertises %d", len(has[e.resource]), advertised.devices)
		case twin && advertised.devices > 0:
			found[e.resource] = "another process of this plugin runs on the node"
		}
	}
	return found, nil
}

// devices returns how many devices this plugin advertises.
func (r *rivals) devices() int {
	sum := 0
	for _, e := range r.endpoints {
		if advertised, _ := e.current(); advertised != nil {
			sum += advertised.devices
		}
	}
	return sum
}

// sockets returns the sockets in the kubelet's directory at which other processes listen,
// each with its process if that is visible here.
func (r *rivals) sockets(ctx context.Context) []string {
	entries, err := os.ReadDir(r.dir.path)
	if err != nil {
		return nil // the endpoints report it
	}
	var sockets []string
	for _, entry := range entries {
		path := filepath.Join(r.dir.path, entry.Name())
		if entry.Type() != fs.ModeSocket || path == r.dir.kubeletSocket() {
			continue
		}
		process, err := listeningProcess(ctx, path)
		switch {
		case err != nil || process == os.Getpid():
		case process == 0:
			sockets = append(sockets, entry.Name())
		default:
			sockets = append(sockets, fmt.Sprintf("%s (process %d)", entry.Name(), process))
		}
	}
	return sockets
}

// listeningProcess returns the process that listens on a socket, or 0 if its PID namespace
// is not visible here. The error is that nobody listens.
func listeningProcess(ctx context.Context, path string) (int, error) {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return 0, err
	}
	return int(credentials.Pid), nil
}

// listAllocatable returns the devices of each resource that the kubelet can allocate.
func listAllocatable(ctx context.Context, socket string) (map[string][]string, error) {
	response, err := askPodResources(ctx, socket, func(ctx context.Context, client podresources.PodResourcesListerClient) (*podresources.AllocatableResourcesResponse, error) {
		return client.GetAllocatableResources(ctx, &podresources.AllocatableResourcesRequest{})
	})
	if err != nil {
		return nil, fmt.Errorf("list allocatable resources at %s: %w", socket, err)
	}
	devices := make(map[string][]string)
	for _, d := range response.Devices {
		devices[d.ResourceName] = append(devices[d.ResourceName], d.DeviceIds...)
	}
	return devices, nil
}
