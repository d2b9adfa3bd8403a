package deviceplugin

import (
	"slices"
	"strings"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

// maxMessage is the maximum length in bytes of a message that the kubelet accepts. It
// drops a plugin whose list of devices is longer, and the node then has none.
const maxMessage = 4 << 20

// maxTopology is the maximum number of devices that are advertised with their NUMA
// nodes: for each container that requests one, the kubelet's topology manager
// iterates over all of them once for each set of nodes.
const maxTopology = 4 << 10

// alphabet has the characters of device IDs. It has as many as are legible in file
// names and logs, so that IDs are short and the 256 GiB of the largest machines fit
// into a message.
const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

// deviceID returns the ID of the i-th device: "0" to "_", then "00" to "__", then
// "000" and so on. It depends on nothing else, because the kubelet keeps the IDs that
// it has allocated across restarts.
func deviceID(i int) string {
	var id []byte
	for ; i >= 0; i = i/len(alphabet) - 1 {
		id = append([]byte{alphabet[i%len(alphabet)]}, id...)
	}
	return string(id)
}

// deviceIndex is the inverse of deviceID.
func deviceIndex(id string) (i int, ok bool) {
	if id == "" || len(id) > 3 {
		return 0, false
	}
	i = -1
	for _, letter := range []byte(id) {
		digit := strings.IndexByte(alphabet, letter)
		if digit < 0 {
			return 0, false
		}
		i = (i+1)*len(alphabet) + digit
	}
	return i, true
}

// list returns the devices as the kubelet expects them.
func (s *supply) list() []*v1beta1.Device {
	devices := make([]*v1beta1.Device, s.devices)
	for i := range devices {
		devices[i] = &v1beta1.Device{ID: deviceID(i), Health: v1beta1.Healthy}
		if s.numa != nil {
			devices[i].Topology = &v1beta1.TopologyInfo{Nodes: []*v1beta1.NUMANode{{ID: int64(s.numa[i])}}}
		}
	}
	return devices
}

// numaNodes returns the NUMA nodes of the first mib MiB of EPC. It returns nil if
// there is only one, if not all are known, or if there are too many devices.
func numaNodes(inv node.Inventory, mib int64) []int {
	unknown := func(section node.Section) bool { return section.NUMANode == node.UnknownNode }
	if len(inv.NUMANodes()) < 2 || mib > maxTopology || slices.ContainsFunc(inv.Sections, unknown) {
		return nil
	}
	var nodes []int
	for _, section := range inv.Sections {
		for range section.Size.MiB() {
			if int64(len(nodes)) < mib {
				nodes = append(nodes, section.NUMANode)
			}
		}
	}
	// Sections whose sizes are not whole numbers of MiB share one.
	for int64(len(nodes)) < mib {
		nodes = append(nodes, inv.Sections[len(inv.Sections)-1].NUMANode)
	}
	return nodes
}
