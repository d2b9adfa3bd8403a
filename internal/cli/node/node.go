// Package node is the command 'confcom node': it shows what SGX the machine has, what of it
// a node would advertise, and what is missing.
package node

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
)

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "node",
		Short: "Show this machine's SGX hardware and whether pods can use it",
		Long: `Show this machine's SGX hardware, how much EPC (Enclave Page Cache) confcom would
advertise to pods on it, and whether pods can use it. If not, show what is missing and
what to do about it. On a node of Kubernetes, also show what its device plugin
advertises at the moment, and why. The command needs neither Kubernetes nor root.

As root, and outside any container, it also shows which pods and other processes map memory
of enclaves. Linux does not count how much of that is in EPC: the rest is swapped out, or was
not used yet.

Exit codes: 0 ready; 1 not ready; 2 bad input, or the machine cannot be examined.`,
		Example: `  confcom node
  confcom node --advertise=devices --kubelet-version=1.35
  confcom node -o json | jq .verdict
  sudo confcom node -o json | jq '.enclaveMemory.processes[] | {namespace, name, mappedBytes}'`,
		Args: args.None,
	}
	configure(command)
	return command
}
