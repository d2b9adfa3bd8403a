package epc_test

import (
	"fmt"
	"log"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// A node with 64 GiB of EPC, under three policies.
func Example() {
	inventory, err := node.Machine{SimulatedEPC: 64 << 10 * node.MiB}.Discover()
	if err != nil {
		log.Fatal(err)
	}
	for _, policy := range []epc.Policy{
		{Mode: epc.Auto},
		{Mode: epc.Auto, Kubelet: "v1.35", Reserve: 16 * node.MiB},
		{Mode: epc.Devices},
	} {
		c := policy.For(inventory)
		fmt.Printf("%s: %d MiB, %d reserved, %d withheld\n", c.Mode, c.MiB, c.ReservedMiB, c.WithheldMiB)
	}
	// Output:
	// node: 65536 MiB, 0 reserved, 0 withheld
	// devices: 65520 MiB, 16 reserved, 0 withheld
	// devices: 8192 MiB, 0 reserved, 57344 withheld
}
