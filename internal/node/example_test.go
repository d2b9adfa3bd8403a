package node_test

import (
	"fmt"
	"log"

	"github.com/confcom/confcom/internal/node"
)

// Which machine, what it has, and whether pods can use it.
func Example() {
	machine := node.Machine{SimulatedEPC: 64 * node.MiB} // or the zero value for this machine
	inventory, err := machine.Discover()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(inventory.EPC(), "of EPC,", inventory.Source())
	if verdict := inventory.Verdict(); !verdict.Ready {
		log.Fatalf("no pod can use SGX: %s: %s", verdict.Problem, verdict.Advice)
	}
	fmt.Println("ready")
	// Output:
	// 64Mi of EPC, SIMULATED
	// ready
}
