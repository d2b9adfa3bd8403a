package node

import (
	"fmt"
	"io"

	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// report is what the command shows of a machine.
type report struct {
	node.Inventory
	EPC node.Size `json:"epcBytes"`
	// Advertised is what the policy wants.
	Advertised epc.Capacity `json:"advertised"`
	// InForce is what the device plugin of this node advertises; nil if it does not run.
	InForce *epc.Advertisement `json:"inForce,omitempty"`
	// EnclaveMemory is nil on a machine that cannot have enclaves.
	EnclaveMemory *enclaveMemory `json:"enclaveMemory,omitempty"`
	Verdict       node.Verdict   `json:"verdict"`
}

func newReport(inv node.Inventory, policy epc.Policy) report {
	return report{Inventory: inv, EPC: inv.EPC(), Advertised: policy.For(inv), Verdict: inv.Verdict()}
}

// warnOfAccess adds a warning if some pods may not open the enclave device.
func (r *report) warnOfAccess(access node.Access, known bool) {
	if problem, advice := access.ForPods(); known && problem != "" {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s (%s): %s; %s", r.Enclave.Path, access, problem, advice))
	}
}

// show writes a report as text.
func show(w io.Writer, r report, resource epc.ResourceName) error {
	p := output.NewPage(w)
	simulated := ""
	if r.Simulated {
		simulated = ", SIMULATED"
		p.Text("SIMULATED", "this machine was not examined; everything below is simulated")
		p.Line("")
	} else {
		p.Row("processor", "%s", processor(r.Processor))
	}
	showEPC(p, r, simulated)
	p.Row("driver", "%s", driver(r.Driver, simulated))
	p.Row("enclave device", "%s", device(r.Enclave, simulated))
	p.Row("provision device", "%s", device(r.Provision, simulated))
	p.Line("")
	showAdvertised(p, r.Advertised, resource)
	if r.InForce != nil {
		showInForce(p, *r.InForce)
	}
	if r.EnclaveMemory != nil {
		p.Line("")
		r.EnclaveMemory.show(p)
	}
	p.Line("")
	for _, warning := range r.Warnings {
		p.Text("warning", warning)
	}
	switch {
	case !r.Verdict.Ready:
		p.Text("NOT READY", r.Verdict.Problem)
		p.Text("what to do", r.Verdict.Advice)
	case r.Simulated:
		p.Text("ready, SIMULATED", "pods are scheduled as on a machine with SGX, but cannot create enclaves")
	default:
		p.Line("ready")
	}
	return p.Err()
}

func showEPC(p *output.Page, r report, simulated string) {
	known := r.NUMANodes()
	switch {
	case r.EPC == 0:
		p.Row("EPC", "none")
	case len(known) == 0:
		p.Row("EPC", "%s, NUMA node unknown%s", epcSize(r.EPC), simulated)
	case len(known) == 1:
		p.Row("EPC", "%s, NUMA node %d%s", epcSize(r.EPC), known[0], simulated)
	default:
		p.Row("EPC", "%s%s", epcSize(r.EPC), simulated)
		for _, section := range r.Sections {
			p.Row(fmt.Sprintf("  NUMA node %d", section.NUMANode), "%s", epcSize(section.Size))
		}
	}
}

// epcSize returns a size in MiB, the unit in which pods request EPC, and in GiB.
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
		return "unknown"
	}
	return p.String()
}

func driver(d node.Driver, simulated string) string {
	switch d {
	case "":
		return "none"
	case node.DriverInKernel:
		return "in-kernel" + simulated
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

func showAdvertised(p *output.Page, c epc.Capacity, resource epc.ResourceName) {
	switch c.Mode {
	case "":
		p.Row("advertised", "nothing")
		return
	case epc.Devices:
		p.Row("advertised", "%d MiB, as devices of the kubelet", c.MiB)
	case epc.Node:
		p.Row("advertised", "%d MiB, in the node's status", c.MiB)
	}
	if c.ReservedMiB > 0 {
		p.Row("  reserved", "%d MiB", c.ReservedMiB)
	}
	if c.WithheldMiB > 0 {
		p.Text("  withheld", fmt.Sprintf("%d MiB: %s", c.WithheldMiB, c.Why))
	}
	p.Row("  resource", "%s", resource)
}

// showInForce shows what the device plugin advertises.
func showInForce(p *output.Page, a epc.Advertisement) {
	p.Line("")
	p.Row("now in force", "%d MiB, state %s", a.MiB, a.State)
	p.Text("  because", a.Message)
	for _, name := range a.PodNames {
		p.Row("  pod", "%s", name)
	}
}
