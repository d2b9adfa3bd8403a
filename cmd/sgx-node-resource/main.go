// Sgx-node-resource writes into a node's status how the node advertises its EPC: a
// condition and, on nodes with more EPC than the kubelet can handle as devices, how much.
// With --label-node, it labels its node instead, if that has SGX.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/epcflags"
	"github.com/confcom/confcom/internal/nodelabel"
	"github.com/confcom/confcom/internal/nodestatus"
)

func main() {
	os.Exit(daemon.Main("sgx-node-resource", "Writes how this node advertises its EPC (Enclave Page Cache) into the node's status.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var writer nodestatus.Writer
	addFlags(flags, &writer)
	var remover nodestatus.Remover
	flags.TextVar(&remover.Resource, "remove", epc.ResourceName(""), "remove the resource of this `name` from the status of all nodes, take the permission to write from the other daemons, and exit, as 'helm uninstall' has it done")
	flags.StringVar(&remover.Namespace, "device-plugin-namespace", "", "with --remove, end the device plugins of this `namespace` once new pods are kept away; empty for none")
	var labeller nodelabel.Labeller
	epcflags.AddMachine(flags, &labeller.Machine)
	label := flags.Bool("label-node", false, "label this node with "+nodelabel.Label+"=true while its processor has SGX, instead of writing its status")
	unlabel := flags.Bool("unlabel-nodes", false, "remove this label from all nodes, take the permission to write it from the other daemons, and exit, as 'helm uninstall' has it done")
	return func(ctx context.Context, env *daemon.Environment) error {
		if *label && *unlabel || remover.Resource != "" && (*label || *unlabel) {
			return errors.New("choose one of --label-node, --unlabel-nodes and --remove")
		}
		if *unlabel {
			return inCluster((&nodelabel.Remover{Kubeconfig: writer.Kubeconfig}).Run(ctx, env))
		}
		if remover.Resource != "" {
			remover.Kubeconfig = writer.Kubeconfig
			return inCluster(remover.Run(ctx, env))
		}
		if writer.Node == "" {
			return errors.New("the name of this node is not known: set NODE_NAME in the environment, as the chart does, or pass --node-name")
		}
		if *label {
			labeller.Node, labeller.Kubeconfig = writer.Node, writer.Kubeconfig
			return inCluster(labeller.Run(ctx, env))
		}
		return inCluster(writer.Run(ctx, env))
	}
}

// inCluster adds what to do if err is that this does not run in a cluster.
func inCluster(err error) error {
	if errors.Is(err, rest.ErrNotInCluster) {
		return fmt.Errorf("%w: run this in a pod with a service account, or pass --kubeconfig", err)
	}
	return err
}

// addFlags declares the flags of the writer and sets it to their defaults. The chart
// passes them in templates/sgx-node-resource.yaml.
func addFlags(flags *pflag.FlagSet, w *nodestatus.Writer) {
	flags.StringVar(&w.Node, "node-name", os.Getenv("NODE_NAME"), "the `name` of this node; by default $NODE_NAME")
	flags.StringVar(&w.Kubeconfig, "kubeconfig", "", "the kubeconfig `file` for the API server; empty for the pod's service account")
	flags.StringVar(&w.AESMSocket, "aesm-socket", "", "write the condition SGXQuotesAvailable, by asking the daemon at the unix socket of this `path` as clients do; empty for no such condition")
	flags.StringVar(&w.StateDir, "state-dir", epc.DefaultStateDir, "the `directory` in which the device plugin writes how EPC is advertised")
}
