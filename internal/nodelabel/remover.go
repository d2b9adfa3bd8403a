package nodelabel

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/nodeguard"
)

const (
	// removeTimeout bounds the removal: helm waits for it.
	removeTimeout = 40 * time.Second
	// revokeTime is how long the API server may take to apply a change of permissions,
	// and how long a write may take that it had allowed before.
	revokeTime = 2 * time.Second
)

// Remover removes label and annotation from all nodes, when nothing will keep them up to
// date any more.
type Remover struct {
	// Kubeconfig is the file that describes how to connect to the API server; empty for
	// the service account of the pod.
	Kubeconfig string
}

// Run takes the permission to write from all labellers, which would label the nodes again,
// and then removes the label. It retries for a while what fails.
func (r *Remover) Run(ctx context.Context, env *daemon.Environment) error {
	client, err := nodeguard.Connect(r.Kubeconfig, env.Log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	return (&removal{
		nodes:    nodeguard.Nodes(client),
		bindings: nodeguard.Bindings(client),
		log:      env.Log,
	}).run(ctx)
}

// nodeList lists and patches nodes.
type nodeList interface {
	nodes
	nodeguard.Lister
}

// removal is one removal of the label.
type removal struct {
	nodes    nodeList
	bindings nodeguard.Deleter
	log      *slog.Logger
}

// run removes the label until no node has it any more, or ctx is done.
func (r *removal) run(ctx context.Context) error {
	removed := make(map[string]bool) // the names of nodes
	revoked := false
	for {
		found, err := 0, error(nil)
		if !revoked {
			err = nodeguard.Revoke(ctx, r.bindings, component)
			revoked = err == nil
		} else if found, err = r.sweep(ctx, removed); err == nil && found == 0 {
			r.log.Info("removed the label from nodes", "nodes", len(removed))
			return nil
		}
		if err != nil {
			r.log.Warn("remove the label from nodes failed, retrying", "error", err)
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%d nodes still have it: something writes it again", found)
			}
			return fmt.Errorf("remove the label %s from nodes: %w", Label, err)
		case <-time.After(revokeTime):
		}
	}
}

// sweep removes label and annotation from each node that has one of them, and returns how
// many have.
func (r *removal) sweep(ctx context.Context, removed map[string]bool) (found int, err error) {
	patch, err := json.Marshal(metadata(map[string]any{Label: nil}, map[string]any{ReasonAnnotation: nil}))
	if err != nil {
		return 0, fmt.Errorf("encode patch: %w", err)
	}
	patched, err := nodeguard.PatchAll(ctx, r.nodes, func(node *unstructured.Unstructured) (sent bool, err error) {
		_, labelled := node.GetLabels()[Label]
		_, annotated := node.GetAnnotations()[ReasonAnnotation]
		if !labelled && !annotated {
			return false, nil
		}
		_, err = r.nodes.Patch(ctx, node.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
		if err == nil {
			removed[node.GetName()] = true
		}
		return true, err
	})
	return len(patched), err
}
