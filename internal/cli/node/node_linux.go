package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/epcflags"
	"github.com/confcom/confcom/internal/node"
)

func configure(command *cobra.Command) {
	var (
		machine node.Machine
		policy  epc.Policy
	)
	format := output.FormatFlag(command)
	stateDir := command.Flags().String("state-dir", epc.DefaultStateDir, "the `directory`, below --sysroot, in which the device plugin of this node writes how EPC is advertised")
	epcflags.Add(command.Flags(), &policy)
	epcflags.AddMachine(command.Flags(), &machine)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if machine.Sysroot == "" { // such as a variable that is not set
			return errors.New("--sysroot: missing directory")
		}
		inv, err := machine.Discover()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: run this as root", err)
		}
		if err != nil {
			return exit.BadInput(err)
		}
		r := newReport(inv, policy)
		if inv.Enclave != nil && !inv.Simulated {
			r.warnOfAccess(machine.Access(*inv.Enclave))
			r.EnclaveMemory = findEnclaveMemory(command.Context(), machine.Sysroot)
		}
		if machine.SimulatedEPC == 0 {
			if r.InForce, err = inForce(filepath.Join(machine.Sysroot, *stateDir)); err != nil {
				// The rest holds for any version of the device plugin.
				r.Warnings = append(r.Warnings, fmt.Sprintf("what the device plugin of this node advertises is unknown: %v; if the plugin is newer, use the confcom in its image", err))
			}
		}
		if *format == output.JSON {
			err = output.WriteJSON(command, r)
		} else {
			err = show(command.OutOrStdout(), r, policy.Resource)
		}
		switch {
		case err != nil:
			return exit.Failed(err)
		case !r.Verdict.Ready:
			return exit.Quietly(exit.CodeFailed)
		}
		return nil
	}
}

// inForce returns how the device plugin of this node advertises EPC, or nil if it has
// written nothing.
func inForce(dir string) (*epc.Advertisement, error) {
	a, err := epc.ReadAdvertisement(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &a, nil
}
