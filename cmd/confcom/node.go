package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/epcflags"
	"github.com/confcom/confcom/internal/node"
)

// nodeReport is what is said of a machine.
type nodeReport struct {
	node.Inventory
	EPC        node.Size    `json:"epcBytes"`
	Advertised epc.Capacity `json:"advertised"`
	Verdict    node.Verdict `json:"verdict"`
}

func newNodeCommand() *cobra.Command {
	var (
		output  format
		machine node.Machine
		policy  epc.Policy
	)
	command := &cobra.Command{
		Use:   "node",
		Short: "Say what SGX this machine has, and whether pods can use it",
		Long: `Say what SGX this machine has, what of it a node would offer to pods, and whether
they can use it; or else what is missing, and what to do. It looks at the machine
that it runs on and needs neither Kubernetes nor root.

Exit codes: 0 ready, 1 not ready, 2 bad input, or a machine that cannot be looked at.`,
		Example: `  confcom node
  confcom node --advertise=devices --kubelet-version=1.35
  confcom node -o json | jq .verdict`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			// An empty value is a mistake, such as a variable that is not set.
			if machine.Sysroot == "" {
				return badInput(errors.New("--sysroot: no directory is given"))
			}
			inv, err := machine.Discover()
			if err != nil {
				return badInput(err)
			}
			report := nodeReport{inv, inv.EPC(), policy.For(inv), inv.Verdict()}
			if output == formatJSON {
				err = writeJSON(command, report)
			} else {
				err = showNode(command.OutOrStdout(), report, policy.Resource)
			}
			if err != nil {
				return failed(err)
			}
			if !report.Verdict.Ready {
				return failed(nil) // the verdict is said
			}
			return nil
		},
	}
	output.flag(command)
	epcflags.Add(command.Flags(), &policy)
	epcflags.AddMachine(command.Flags(), &machine)
	return command
}

// showNode writes what is said of a machine for people.
func showNode(w io.Writer, r nodeReport, resource epc.ResourceName) error {
	p := &page{w: w}
	simulated := ""
	if r.Simulated {
		simulated = ", SIMULATED"
		p.text("SIMULATED", "this machine was not looked at: what follows is pretended")
		p.line("")
	} else {
		p.row("processor", "%s", processor(r.Processor))
	}
	showEPC(p, r, simulated)
	p.row("driver", "%s", driver(r.Driver, simulated))
	p.row("enclave device", "%s", device(r.Enclave, simulated))
	p.row("provision device", "%s", device(r.Provision, simulated))
	p.line("")
	showAdvertised(p, r.Advertised, resource)
	p.line("")
	for _, warning := range r.Warnings {
		p.text("warning", warning)
	}
	switch {
	case !r.Verdict.Ready:
		p.text("NOT READY", r.Verdict.Problem)
		p.text("what to do", r.Verdict.Advice)
	case r.Simulated:
		p.text("ready, SIMULATED", "pods are scheduled as if there were SGX, but can make no enclave")
	default:
		p.line("ready")
	}
	return p.err
}

func showEPC(p *page, r nodeReport, simulated string) {
	known := r.NUMANodes()
	switch {
	case r.EPC == 0:
		p.row("EPC", "none")
	case len(known) == 0:
		p.row("EPC", "%s, NUMA node unknown%s", epcSize(r.EPC), simulated)
	case len(known) == 1:
		p.row("EPC", "%s, NUMA node %d%s", epcSize(r.EPC), known[0], simulated)
	default:
		p.row("EPC", "%s%s", epcSize(r.EPC), simulated)
		for _, section := range r.Sections {
			p.row(fmt.Sprintf("  NUMA node %d", section.NUMANode), "%s", epcSize(section.Size))
		}
	}
}

// epcSize is a size in the unit that pods ask for it in.
func epcSize(size node.Size) string {
	const giB = 1024 * node.MiB
	mib := fmt.Sprintf("%d MiB", size.MiB())
	switch {
	case size%node.MiB != 0:
		mib = fmt.Sprintf("%.1f MiB", float64(size)/float64(node.MiB))
	case size >= giB && size%giB == 0:
		return fmt.Sprintf("%s (%d GiB)", mib, size/giB)
	}
	if size >= giB {
		return fmt.Sprintf("%s (%.1f GiB)", mib, float64(size)/float64(giB))
	}
	return mib
}

func processor(p *node.Processor) string {
	if p == nil {
		return "not known"
	}
	return p.String()
}

func driver(d node.Driver, simulated string) string {
	switch d {
	case "":
		return "none"
	case node.DriverInKernel:
		return "of Linux" + simulated
	case node.DriverLegacy:
		return "isgx, Intel's module for processors without FLC"
	default:
		return string(d) + ", Intel's module"
	}
}

func device(d *node.Device, simulated string) string {
	switch {
	case d == nil:
		return "none"
	case d.Node != d.Path:
		return d.Path + " -> " + d.Node + simulated
	default:
		return d.Path + simulated
	}
}

func showAdvertised(p *page, o epc.Capacity, resource epc.ResourceName) {
	switch o.Mode {
	case "":
		p.row("offer", "nothing")
		return
	case epc.Devices:
		p.row("offer", "%d MiB, as devices of the kubelet", o.MiB)
	case epc.Node:
		p.row("offer", "%d MiB, in the status of the node", o.MiB)
	}
	if o.ReservedMiB > 0 {
		p.row("  reserved", "%d MiB", o.ReservedMiB)
	}
	if o.WithheldMiB > 0 {
		p.text("  withheld", fmt.Sprintf("%d MiB: %s", o.WithheldMiB, o.Why))
	}
	p.row("  resource", "%s", resource)
}
