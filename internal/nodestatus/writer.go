// Package nodestatus writes into the status of a node how the node advertises its EPC,
// which the device plugin decides: the number, if EPC is an extended resource of the
// node's status, and a condition; and a second condition, whether clients of the AESM socket
// can get quotes. It reports changes of them as events, and that something else makes the
// quotes. When confcom is uninstalled, a Remover removes all of that.
//
// A Writer reads no more of the cluster than the admission policies that give the device to
// containers with EPC, and may write no more than this number and these conditions of its own
// node, and events about it. Now and then it checks that another
// admission policy allows it no other write, and writes nothing if there is no such policy.
package nodestatus

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/nodeguard"
)

// Writer writes how a node advertises its EPC into the node's status. It must not change
// while it runs.
type Writer struct {
	// StateDir is the directory in which the device plugin writes how EPC is advertised.
	StateDir string
	// Node is the name of the node.
	Node string
	// Kubeconfig is the file that describes how to connect to the API server; empty
	// for the service account of the pod.
	Kubeconfig string
	// AESMSocket is the path of the AESM socket, for the condition that says whether the node
	// can make quotes; empty for no such condition.
	AESMSocket string
}

// Run writes until ctx is done, and then returns nil. It retries while the API server
// is unavailable. It returns an error if the node has no name or the API server is
// unknown: rest.ErrNotInCluster if there is neither a kubeconfig nor a pod.
func (w *Writer) Run(ctx context.Context, env *daemon.Environment) error {
	if w.Node == "" {
		return errors.New("the node has no name")
	}
	if !filepath.IsAbs(w.StateDir) {
		return fmt.Errorf("state directory %q: not an absolute path", w.StateDir)
	}
	client, err := nodeguard.Connect(w.Kubeconfig, env.Log)
	if err != nil {
		return err
	}
	metrics := NewMetrics(env.Metrics)
	limit := newEventLimit()
	newClient := func() nodeClient {
		c := nodeClient{
			node:    w.Node,
			nodes:   nodeguard.Nodes(client),
			events:  client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(metav1.NamespaceDefault),
			limit:   limit,
			log:     env.Log.With("node", w.Node),
			metrics: metrics,
		}
		if w.Kubeconfig == "" { // other credentials are not those that the policy restricts
			c.guard = newGuard(w.Node, c.nodes)
		}
		return c
	}
	read := func() (epc.Advertisement, error) { return epc.ReadAdvertisement(w.StateDir) }
	status := &statusWriter{
		nodeClient:     newClient(),
		read:           read,
		acknowledge:    func(a epc.Advertisement) (releaser, error) { return epc.Acknowledge(w.StateDir, a) },
		devicePolicies: newDevicePolicies(client),
		known:          env.Health.Condition("advertisement"),
		written:        env.Health.Condition("node status"),
	}
	quotes := &quotesWriter{nodeClient: newClient(), read: read}
	if w.AESMSocket != "" {
		quotes.socket = newProber(w.AESMSocket)
	}
	var writers sync.WaitGroup
	writers.Go(func() { quotes.run(ctx) })
	status.run(ctx)
	writers.Wait()
	return nil
}
