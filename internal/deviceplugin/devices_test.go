package deviceplugin

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

func TestDeviceID(t *testing.T) {
	// Kubelets keep these in their checkpoints, so they must never change.
	for i, want := range map[int]string{
		0: "0", 9: "9", 10: "a", 36: "A", 63: "_",
		64: "00", 65: "01", 128: "10", 4159: "__",
		4160: "000", 262143: "--_", 266303: "___",
	} {
		if got := deviceID(i); got != want {
			t.Errorf("device %d: %s, want %s", i, got, want)
		}
	}
	for i := range 64 + 64*64 + 64*64*64 {
		id := deviceID(i)
		if got, ok := deviceIndex(id); !ok || got != i || len(id) > 3 {
			t.Fatalf("device %d has ID %s, which is device %d (%t)", i, id, got, ok)
		}
	}
}

func TestDeviceIndexOfNoDevice(t *testing.T) {
	for _, id := range []string{"", "0000", "+", "a b", "é", "0\x00", "sgx-epc-1"} {
		if i, ok := deviceIndex(id); ok {
			t.Errorf("%q is device %d", id, i)
		}
	}
}

// The maximum number of devices fits into a message that the kubelet accepts, and so
// does the maximum number with NUMA nodes.
func TestListFits(t *testing.T) {
	tests := []struct {
		name   string
		supply supply
		size   int // of the message in bytes
	}{
		{"none", supply{}, 0},
		{"one", supply{devices: 1}, 14},
		{"168 MiB", supply{devices: 168}, 64*14 + 104*15},
		{"8 GiB", supply{devices: 8192}, 64*14 + 4096*15 + 4032*16},
		{"256 GiB", supply{devices: epc.MaxDevices}, 4190080},
		{"NUMA nodes", supply{devices: maxTopology, numa: make([]int, maxTopology)}, 64*(14+4) + 4032*(15+4)},
	}
	for _, test := range tests {
		size := proto.Size(&v1beta1.ListAndWatchResponse{Devices: test.supply.list()})
		if size != test.size || size > maxMessage {
			t.Errorf("%s: %d bytes, want %d", test.name, size, test.size)
		}
	}
}

func TestNUMANodes(t *testing.T) {
	const MiB = node.MiB
	tests := []struct {
		name     string
		sections []node.Section
		mib      int64
		want     []int
	}{
		{"one node", []node.Section{{NUMANode: 0, Size: 4 * MiB}}, 4, nil},
		{"unknown", []node.Section{{NUMANode: node.UnknownNode, Size: 4 * MiB}}, 4, nil},
		{"two nodes", []node.Section{{NUMANode: 0, Size: 2 * MiB}, {NUMANode: 1, Size: 3 * MiB}}, 5, []int{0, 0, 1, 1, 1}},
		{"the last MiB are reserved", []node.Section{{NUMANode: 0, Size: 2 * MiB}, {NUMANode: 1, Size: 3 * MiB}}, 3, []int{0, 0, 1}},
		{"halves of a MiB", []node.Section{{NUMANode: 0, Size: 3 * MiB / 2}, {NUMANode: 1, Size: 3 * MiB / 2}}, 3, []int{0, 1, 1}},
		{"some unknown", []node.Section{{NUMANode: 0, Size: MiB}, {NUMANode: 1, Size: MiB}, {NUMANode: node.UnknownNode, Size: MiB}}, 3, nil},
		{"many", []node.Section{{NUMANode: 0, Size: 4096 * MiB}, {NUMANode: 1, Size: MiB}}, 4097, nil},
	}
	for _, test := range tests {
		if got := numaNodes(node.Inventory{Sections: test.sections}, test.mib); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	devices := (&supply{devices: 2, numa: []int{0, 1}}).list()
	if got := devices[1].GetTopology().GetNodes(); len(got) != 1 || got[0].ID != 1 {
		t.Errorf("topology: %v", got)
	}
}
