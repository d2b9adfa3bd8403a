// Package nodestatus writes how much EPC a node advertises into the node's status, as
// an extended resource. This works for any size, so it is for nodes with more EPC than
// the kubelet can handle as devices. When confcom is uninstalled, a Remover removes it.
//
// A Writer writes this one number of its own node and reads nothing, so it needs no other
// permission. It repeats the write at an interval, because a kubelet that has lost
// its device checkpoint resets the resources of its node. Now and then it checks that an
// admission policy allows it no other write, and writes nothing if there is no such policy.
package nodestatus

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// Writer writes the EPC of a machine into the status of its node. It must not change
// while it runs.
type Writer struct {
	Machine node.Machine
	Policy  epc.Policy
	// Node is the name of the node.
	Node string
	// Kubeconfig is the file that describes how to connect to the API server; empty
	// for the service account of the pod.
	Kubeconfig string
}

// Run writes until ctx is done, and then returns nil. It retries while the API server
// is unavailable. It returns an error if the node has no name or the API server is
// unknown: rest.ErrNotInCluster if there is neither a kubeconfig nor a pod.
func (w *Writer) Run(ctx context.Context, env *daemon.Environment) error {
	if w.Node == "" {
		return errors.New("the node has no name")
	}
	klog.SetSlogLogger(env.Log) // the client logs through klog
	config, err := w.config()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("create API client: %w", err)
	}
	status := &statusWriter{
		node:     w.Node,
		resource: string(w.Policy.Resource),
		nodes:    client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}),
		log:      env.Log.With("node", w.Node, "resource", w.Policy.Resource),
		written:  env.Health.Condition("node status"),
		metrics:  NewMetrics(env.Metrics),
	}
	if w.Kubeconfig == "" { // other credentials are not those that the policy restricts
		status.guard = &guard{node: w.Node, nodes: status.nodes}
	}
	machine := env.Health.Condition("machine")
	capacities := make(chan epc.Capacity)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		status.run(ctx, capacities)
		return nil
	})
	group.Go(func() error {
		w.Policy.Watch(ctx, w.Machine, env.Log, machine.Set, func(_ node.Inventory, c epc.Capacity) error {
			select {
			case capacities <- c:
			case <-ctx.Done():
			}
			return nil
		})
		return nil
	})
	return group.Wait()
}

// config returns how to connect to the API server.
func (w *Writer) config() (*rest.Config, error) {
	if w.Kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", w.Kubeconfig)
}
