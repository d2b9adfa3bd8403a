package deviceplugin

import (
	"log/slog"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// logCapacity logs what the machine has and what is advertised of it.
func (p *Plugin) logCapacity(log *slog.Logger, inv node.Inventory, c epc.Capacity) {
	for _, warning := range inv.Warnings {
		log.Warn("problem with SGX", "warning", warning)
	}
	if !inv.Usable() {
		verdict := inv.Verdict()
		log.Warn("no usable SGX, advertising nothing",
			"problem", verdict.Problem, "advice", verdict.Advice, "findings", inv.Findings)
		return
	}
	device := "none"
	if inv.Enclave != nil {
		device = inv.Enclave.Path
	}
	log = log.With("resource", p.Policy.Resource, "MiB", c.MiB)
	if c.WithheldMiB > 0 {
		log.Warn("not all EPC is advertised", "withheldMiB", c.WithheldMiB, "reason", c.Why)
	}
	log = log.With("mode", c.Mode, "reservedMiB", c.ReservedMiB, "source", inv.Source(), "driver", inv.Driver, "device", device)
	switch c.Mode {
	case "":
		log.Info("EPC resource is disabled")
	case epc.Devices:
		log.Info("EPC is advertised as devices")
	case epc.Node:
		writer := "sgx-node-resource"
		if p.NFDDir != "" {
			writer = "Node Feature Discovery"
		}
		log.Info("EPC is advertised in the node status", "writer", writer, "deviceResource", p.Enclave)
	}
}
