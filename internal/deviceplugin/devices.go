package deviceplugin

import (
	"slices"
	"strings"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

// maxMessage is the longest message in bytes that the kubelet accepts. It drops
// a plugin whose list of devices is longer, and the node then has none.
const maxMessage = 4 << 20

// maxTopology is the most devices that are advertised with their NUMA nodes. The
// kubelet's topology manager goes through all of them, once for each set of
// nodes, whenever a container asks for one.
const maxTopology = 4 << 10

// alphabet is what the IDs of devices are written in. It is as large as can be
// told apart in file names and logs, so that the IDs are short: with it a
// message has room for the 256 GiB of the largest machines.
const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

// deviceID is the ID of the i-th device: "0" to "_", then "00" to "__", then
// "000" and so on. It depends on nothing else, because the kubelet remembers
// over restarts which IDs it has given away.
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

// list is what the kubelet is told of the devices.
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

// numaNodes are the NUMA nodes of the first mib MiB of EPC, or nil where they
// are not worth telling: there is only one, not all are known, or there are too
// many devices.
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
	// Sections that are no whole number of MiB share one.
	for int64(len(nodes)) < mib {
		nodes = append(nodes, inv.Sections[len(inv.Sections)-1].NUMANode)
	}
	return nodes
}
