package epc

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node"
)

const (
	miB = node.MiB
	giB = 1024 * miB
)

// machine has the in-kernel driver and one EPC section of each size, each on a NUMA
// node of its own.
func machine(sizes ...node.Size) node.Inventory {
	inv := node.Inventory{
		Driver:  node.DriverInKernel,
		Enclave: &node.Device{Path: "/dev/sgx_enclave", Node: "/dev/sgx_enclave"},
	}
	for i, size := range sizes {
		inv.Sections = append(inv.Sections, node.Section{NUMANode: i, Size: size})
	}
	return inv
}

func TestFor(t *testing.T) {
	const (
		remedy     = "; mode node, which needs Kubernetes 1.36, can advertise all EPC"
		lookups    = "with more than 8192 devices, kubelets since 1.36 block for a long time when they start" + remedy
		listSize   = "kubelets reject lists of more than 262144 devices" + remedy
		configured = "at most 1000 devices are configured" + remedy
	)
	withoutDevice := machine(8 * giB)
	withoutDevice.Enclave = nil
	simulated := withoutDevice
	simulated.Simulated = true

	tests := []struct {
		name   string
		inv    node.Inventory
		policy Policy
		want   Capacity
	}{
		{"the zero policy is auto", machine(8*giB, 8*giB), Policy{}, Capacity{Mode: Node, MiB: 16384}},
		{"auto", machine(56 * miB), Policy{Mode: Auto}, Capacity{Mode: Devices, MiB: 56}},

		// Kubelets since 1.36 handle 8192 devices, older ones 262144.
		{"8 GiB, 1.36", machine(8 * giB), Policy{Mode: Auto, Kubelet: "v1.36"}, Capacity{Mode: Devices, MiB: 8192}},
		{"1 MiB over, newest", machine(8*giB + miB), Policy{Mode: Auto}, Capacity{Mode: Node, MiB: 8193}},
		{"1 MiB over, 1.37", machine(8*giB + miB), Policy{Mode: Auto, Kubelet: "v1.37"}, Capacity{Mode: Node, MiB: 8193}},
		{"1 MiB over, 1.36", machine(8*giB + miB), Policy{Mode: Auto, Kubelet: "v1.36"}, Capacity{Mode: Node, MiB: 8193}},
		{"1 MiB over, 1.36.0", machine(8*giB + miB), Policy{Mode: Auto, Kubelet: "v1.36.0"}, Capacity{Mode: Node, MiB: 8193}},
		{"1 MiB over, before 1.36.0", machine(8*giB + miB), Policy{Mode: Auto, Kubelet: "v1.36.0-alpha.1"}, Capacity{Mode: Node, MiB: 8193}},
		{"1 MiB over, 1.35", machine(8*giB + miB), Policy{Mode: Auto, Kubelet: "v1.35"}, Capacity{Mode: Devices, MiB: 8193}},
		{"1 MiB over, 1.35 with a vendor suffix", machine(8*giB + miB), Policy{Mode: Auto, Kubelet: "v1.35.9-gke.100"}, Capacity{Mode: Devices, MiB: 8193}},
		{"256 GiB, 1.35", machine(256 * giB), Policy{Mode: Auto, Kubelet: "v1.35"}, Capacity{Mode: Devices, MiB: 262144}},
		{"256 GiB and 1 MiB, 1.35", machine(256*giB + miB), Policy{Mode: Auto, Kubelet: "v1.35"}, Capacity{Mode: Devices, MiB: 262144, WithheldMiB: 1, Why: listSize}},
		{"256 GiB, newest", machine(256 * giB), Policy{Mode: Auto}, Capacity{Mode: Node, MiB: 262144}},
		{"512 GiB", machine(256*giB, 256*giB), Policy{Mode: Auto}, Capacity{Mode: Node, MiB: 524288}},

		// In mode devices, the rest is withheld.
		{"devices", machine(8 * giB), Policy{Mode: Devices}, Capacity{Mode: Devices, MiB: 8192}},
		{"64 GiB as devices, newest", machine(64 * giB), Policy{Mode: Devices}, Capacity{Mode: Devices, MiB: 8192, WithheldMiB: 57344, Why: lookups}},
		{"512 GiB as devices, 1.35", machine(256*giB, 256*giB), Policy{Mode: Devices, Kubelet: "v1.35"}, Capacity{Mode: Devices, MiB: 262144, WithheldMiB: 262144, Why: listSize}},

		{"node", machine(8 * giB), Policy{Mode: Node}, Capacity{Mode: Node, MiB: 8192}},
		{"512 GiB in the node status", machine(256*giB, 256*giB), Policy{Mode: Node}, Capacity{Mode: Node, MiB: 524288}},

		// A configured cap overrides that of the kubelet.
		{"max-devices, less", machine(8 * giB), Policy{Mode: Devices, MaxDevices: 1000}, Capacity{Mode: Devices, MiB: 1000, WithheldMiB: 7192, Why: configured}},
		{"max-devices, exactly", machine(1000 * miB), Policy{Mode: Devices, MaxDevices: 1000}, Capacity{Mode: Devices, MiB: 1000}},
		{"max-devices, more", machine(64 * giB), Policy{Mode: Devices, MaxDevices: MaxDevices}, Capacity{Mode: Devices, MiB: 65536}},
		{"max-devices, more and auto", machine(64 * giB), Policy{Mode: Auto, MaxDevices: MaxDevices}, Capacity{Mode: Devices, MiB: 65536}},
		{"max-devices, less and auto", machine(8 * giB), Policy{Mode: Auto, MaxDevices: 1000}, Capacity{Mode: Node, MiB: 8192}},
		{"max-devices does not apply to mode node", machine(8 * giB), Policy{Mode: Node, MaxDevices: 1000}, Capacity{Mode: Node, MiB: 8192}},

		{"reserve", machine(56 * miB), Policy{Mode: Auto, Reserve: 16 * miB}, Capacity{Mode: Devices, MiB: 40, ReservedMiB: 16}},
		{"reserve what exceeds the cap", machine(8*giB + 16*miB), Policy{Mode: Auto, Reserve: 16 * miB}, Capacity{Mode: Devices, MiB: 8192, ReservedMiB: 16}},
		{"reserve part of what would be withheld", machine(64 * giB), Policy{Mode: Devices, Reserve: 16 * miB}, Capacity{Mode: Devices, MiB: 8192, ReservedMiB: 16, WithheldMiB: 57328, Why: lookups}},
		{"reserve all", machine(56 * miB), Policy{Mode: Auto, Reserve: 56 * miB}, Capacity{Mode: Devices, ReservedMiB: 56}},
		{"reserve more than exists", machine(56 * miB), Policy{Mode: Auto, Reserve: giB}, Capacity{Mode: Devices, ReservedMiB: 56}},
		{"reserve more than exists, mode node", machine(56 * miB), Policy{Mode: Node, Reserve: giB}, Capacity{Mode: Node, ReservedMiB: 56}},

		// Only whole MiB are advertised; halves on two NUMA nodes add up to one.
		{"93.5 MiB", machine(93*miB + miB/2), Policy{}, Capacity{Mode: Devices, MiB: 93}},
		{"93.5 MiB less 16", machine(93*miB + miB/2), Policy{Reserve: 16 * miB}, Capacity{Mode: Devices, MiB: 77, ReservedMiB: 16}},
		{"twice 93.5 MiB", machine(93*miB+miB/2, 93*miB+miB/2), Policy{}, Capacity{Mode: Devices, MiB: 187}},

		{"no SGX", node.Inventory{}, Policy{Mode: Auto}, Capacity{}},
		{"a device without EPC", machine(), Policy{Mode: Auto}, Capacity{}},
		{"EPC without a device", withoutDevice, Policy{Mode: Node, Reserve: 16 * miB}, Capacity{}},
		{"simulated EPC without a device", simulated, Policy{Mode: Auto}, Capacity{Mode: Devices, MiB: 8192}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.policy.For(test.inv)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if all := test.inv.EPC().MiB(); got != (Capacity{}) && got.MiB+got.ReservedMiB+got.WithheldMiB != all {
				t.Errorf("advertised %d + reserved %d + withheld %d MiB, want %d in total", got.MiB, got.ReservedMiB, got.WithheldMiB, all)
			}
		})
	}
}
