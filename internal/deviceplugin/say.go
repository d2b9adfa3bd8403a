package deviceplugin

import (
	"log/slog"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// say logs what there is and what becomes of it.
func (p *Plugin) say(log *slog.Logger, inv node.Inventory, o epc.Capacity) {
	for _, warning := range inv.Warnings {
		log.Warn("the SGX of this node is not as it should be", "warning", warning)
	}
	if !inv.Usable() {
		verdict := inv.Verdict()
		log.Warn("this node has no SGX that pods could use: nothing is advertised until it has",
			"problem", verdict.Problem, "advice", verdict.Advice, "findings", inv.Findings)
		return
	}
	device := "none"
	if inv.Enclave != nil {
		device = inv.Enclave.Path
	}
	log = log.With("resource", p.Policy.Resource, "MiB", o.MiB)
	if o.WithheldMiB > 0 {
		log.Warn("NOT ALL EPC IS ADVERTISED", "withheldMiB", o.WithheldMiB, "reason", o.Why)
	}
	log = log.With("mode", o.Mode, "reservedMiB", o.ReservedMiB, "source", inv.Source(), "driver", inv.Driver, "device", device)
	switch o.Mode {
	case "":
		log.Info("EPC is not offered: --resources does not name it")
	case epc.Devices:
		log.Info("EPC is offered as devices of the kubelet")
	case epc.Node:
		log.Info("EPC is for the status of the node, which sgx-node-resource or Node Feature Discovery writes; the device comes with another resource", "deviceResource", p.Enclave)
	}
}
