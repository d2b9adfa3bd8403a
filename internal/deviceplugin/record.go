package deviceplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// recordFile is the kubelet's record of devices, in its device plugin directory. It
	// survives the kubelet.
	recordFile = "kubelet_internal_checkpoint"
	// maxRecord is the maximum length of the record in bytes: that of all devices of a
	// node, several times over.
	maxRecord = 64 << 20
)

// holders are pods that use EPC in one of the modes.
type holders struct {
	count int
	names []string // namespace/name; fewer than count if the kubelet did not name all
}

// usage is how a kubelet, and the pods on it, use EPC.
type usage struct {
	// registered is whether the kubelet knows EPC as devices: it refuses any pod with
	// EPC to which it cannot allocate devices.
	registered bool
	// devicePods hold EPC as devices. As long as there is one, the same holds.
	devicePods holders
	// nodePods hold the enclave device and no EPC as devices. Their EPC is that of the
	// node's status.
	nodePods holders
	// stale is whether the record may name pods that have ended.
	stale bool
	// written is when the kubelet wrote the record, after it had been asked for its pods.
	written time.Time
}

// record is what confcom reads of the kubelet's record of devices.
type record struct {
	registered map[string]json.RawMessage // by the name of the resource
	pods       []podEntry
	written    time.Time
}

// podEntry is a resource of a pod, of which it has devices.
type podEntry struct{ PodUID, ResourceName string }

// readRecord reads the record in the kubelet's directory. It is empty if the kubelet has
// not written one.
func readRecord(dir string) (record, error) {
	file, err := os.Open(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read the kubelet's record of devices: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxRecord))
	if err != nil {
		return record{}, fmt.Errorf("read the kubelet's record of devices: %w", err)
	}
	r, err := parseRecord(text)
	if err != nil {
		return record{}, fmt.Errorf("parse the kubelet's record of devices: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return record{}, fmt.Errorf("read the kubelet's record of devices: %w", err)
	}
	r.written = info.ModTime()
	return r, nil
}

// parseRecord parses a record. It ignores members that it does not know, since the format
// is the kubelet's own, but not that one is missing of those on which it relies.
func parseRecord(text []byte) (record, error) {
	var file struct {
		Data struct {
			PodDeviceEntries  []podEntry
			RegisteredDevices map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return record{}, err
	}
	r := record{registered: file.Data.RegisteredDevices, pods: file.Data.PodDeviceEntries}
	unnamed := slices.ContainsFunc(r.pods, func(e podEntry) bool { return e.PodUID == "" || e.ResourceName == "" })
	if r.registered == nil || unnamed {
		return record{}, errors.New("the names of registered resources, pods or their resources are missing, so this kubelet has another format")
	}
	return r, nil
}

// usage returns how EPC is used according to the record. Pods that have ended count until
// the kubelet writes it again.
func (r record) usage(epc, enclave string) usage {
	devices, enclaves := make(map[string]bool), make(map[string]bool) // by the UID of the pod
	for _, entry := range r.pods {
		switch entry.ResourceName {
		case epc:
			devices[entry.PodUID] = true
		case enclave:
			enclaves[entry.PodUID] = true
		}
	}
	for pod := range devices {
		delete(enclaves, pod)
	}
	_, registered := r.registered[epc]
	return usage{
		registered: registered,
		devicePods: holders{count: len(devices)},
		nodePods:   holders{count: len(enclaves)},
		written:    r.written,
	}
}

// listUsage asks the kubelet behind the socket how its pods use EPC, which also makes it
// forget pods that have ended. The answer lacks the devices of init containers and, for a
// moment after a start of the kubelet, pods.
func listUsage(ctx context.Context, socket, epc, enclave string) (usage, error) {
	pods, err := listPodResources(ctx, socket)
	if err != nil {
		return usage{}, err
	}
	var u usage
	for _, pod := range pods {
		holds := func(resource string) bool {
			for _, container := range pod.Containers {
				for _, allocated := range container.Devices {
					if allocated.ResourceName == resource && len(allocated.DeviceIds) > 0 {
						return true
					}
				}
			}
			return false
		}
		name := pod.Namespace + "/" + pod.Name
		switch {
		case holds(epc):
			u.devicePods.add(name)
		case holds(enclave):
			u.nodePods.add(name)
		}
	}
	return u, nil
}

func (h *holders) add(name string) {
	h.count++
	h.names = append(h.names, name)
	slices.Sort(h.names)
}

// merge adds what the kubelet's answer says to what its record says. Only the record has
// all pods, and only the answer their names.
func (u usage) merge(listed usage) usage {
	u.stale = listed.devicePods.count < u.devicePods.count || listed.nodePods.count < u.nodePods.count
	for _, pods := range []struct{ recorded, listed *holders }{{&u.devicePods, &listed.devicePods}, {&u.nodePods, &listed.nodePods}} {
		pods.recorded.names = pods.listed.names
		pods.recorded.count = max(pods.recorded.count, pods.listed.count)
	}
	return u
}

// kubeletUsage returns how the kubelet uses EPC. If its record cannot be read, forgotten
// is whether enough time has passed for it to have forgotten the devices.
func (p *Plugin) kubeletUsage(ctx context.Context, forgotten bool) (usage, error) {
	// The list comes first: it makes the kubelet forget pods that have ended, so that a
	// record that is written later does not name them.
	listed, listErr := p.listUsage(ctx)
	r, recordErr := readRecord(p.DevicePluginDir)
	switch {
	case recordErr != nil && listErr != nil:
		return usage{}, errors.Join(errNoUsage, recordErr, listErr)
	case recordErr != nil:
		listed.registered = !forgotten
		return listed, recordErr
	}
	u := r.usage(string(p.Policy.Resource), string(p.Enclave))
	switch {
	case u.devicePods.count+u.nodePods.count == 0:
		return u, nil // the list would add nothing
	case listErr != nil:
		u.stale = true
		return u, fmt.Errorf("find out which pods hold EPC: %w", listErr)
	}
	return u.merge(listed), nil
}

// errNoUsage is why nothing is known of a kubelet.
var errNoUsage = errors.New("find out how the kubelet uses EPC")

func (p *Plugin) listUsage(ctx context.Context) (usage, error) {
	if p.PodResourcesSocket == "" {
		return usage{}, errors.New("no socket for the resources of pods is configured")
	}
	return listUsage(ctx, p.PodResourcesSocket, string(p.Policy.Resource), string(p.Enclave))
}
