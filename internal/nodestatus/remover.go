package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
)

const (
	// removeTimeout bounds the removal: 'helm uninstall' waits for it.
	removeTimeout = 40 * time.Second
	// revokeTime is how long the API server may take to apply a change of permissions,
	// and how long a write may take that it had allowed before.
	revokeTime = 2 * time.Second
	// listLimit is the number of nodes that are read at a time.
	listLimit = 500
	// writerBinding is the ClusterRoleBinding that lets the writers write.
	writerBinding = "sgx-node-resource"
	// kubeletManager is the name under which kubelets change the status of nodes.
	kubeletManager = "kubelet"
)

// Remover removes EPC from the status of all nodes, when confcom is uninstalled: the number
// and the condition. Without confcom nothing gives the device to pods, so they must not be
// scheduled by a number that remains.
//
// A number that a kubelet has written stays: the kubelet would write it again. It is 0 soon
// after the device plugin has gone.
type Remover struct {
	// Resource is the name of the resource that counts MiB of EPC.
	Resource epc.ResourceName
	// Kubeconfig is the file that describes how to connect to the API server; empty
	// for the service account of the pod.
	Kubeconfig string
}

// Run takes the permission to write from all writers, which would write the number again,
// and then removes it. It retries for a while what fails.
func (r *Remover) Run(ctx context.Context, env *daemon.Environment) error {
	klog.SetSlogLogger(env.Log) // the client logs through klog
	config, err := (&Writer{Kubeconfig: r.Kubeconfig}).config()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("create API client: %w", err)
	}
	removal := &removal{
		resource: string(r.Resource),
		nodes:    client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}),
		bindings: client.Resource(schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}),
		log:      env.Log.With("resource", r.Resource),
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	return removal.run(ctx)
}

// nodeList lists and patches nodes.
type nodeList interface {
	nodes
	List(ctx context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error)
}

// bindings deletes bindings of roles.
type bindings interface {
	Delete(ctx context.Context, name string, options metav1.DeleteOptions, subresources ...string) error
}

// removal is one removal of the number.
type removal struct {
	resource string
	nodes    nodeList
	bindings bindings
	log      *slog.Logger
}

// run removes the number until no node has it any more, or ctx is done.
func (r *removal) run(ctx context.Context) error {
	removed := make(map[string]bool) // the names of nodes
	revoked := false
	for {
		found, err := 0, error(nil)
		if !revoked {
			err = r.revoke(ctx)
			revoked = err == nil
		} else if found, err = r.sweep(ctx, removed); err == nil && found == 0 {
			r.log.Info("removed from the status of nodes", "nodes", len(removed))
			return nil
		}
		if err != nil {
			r.log.Warn("remove from the status of nodes failed, retrying", "error", err)
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%d nodes still have it: something writes it again", found)
			}
			return fmt.Errorf("remove %s from the status of nodes: %w", r.resource, err)
		case <-time.After(revokeTime):
		}
	}
}

// revoke takes the permission to write from the writers.
func (r *removal) revoke(ctx context.Context) error {
	err := r.bindings.Delete(ctx, writerBinding, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the ClusterRoleBinding %s: %w", writerBinding, err)
	}
	return nil
}

// sweep removes the number and the condition from each node that has them, and returns how
// many have.
func (r *removal) sweep(ctx context.Context, removed map[string]bool) (found int, err error) {
	options := metav1.ListOptions{Limit: listLimit}
	var failed error // the first failure; the others are alike
	for {
		list, err := r.nodes.List(ctx, options)
		if err != nil {
			return found, errors.Join(failed, fmt.Errorf("list nodes: %w", err))
		}
		for _, node := range list.Items {
			patch, err := r.patch(&node)
			if err != nil {
				return found, err
			}
			if patch == nil {
				continue
			}
			found++
			_, err = r.nodes.Patch(ctx, node.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
			switch {
			case err == nil:
				removed[node.GetName()] = true
			case !apierrors.IsNotFound(err) && failed == nil: // a node may have gone meanwhile
				failed = fmt.Errorf("patch status of node %s: %w", node.GetName(), err)
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return found, failed
		}
	}
}

// patch returns the strategic merge patch that removes what a node has, or nil if it has
// nothing.
func (r *removal) patch(node *unstructured.Unstructured) ([]byte, error) {
	status := make(map[string]any)
	if r.written(node) {
		status["capacity"] = map[string]any{r.resource: nil}
		status["allocatable"] = map[string]any{r.resource: nil}
	}
	if found, _, _ := findCondition(node); found != "" {
		status["conditions"] = []map[string]string{{"type": conditionType, "$patch": "delete"}}
	}
	if len(status) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return patch, nil
}

// written reports whether the node has the number, and somebody else than its kubelet has
// written it.
func (r *removal) written(node *unstructured.Unstructured) bool {
	for _, field := range []string{"capacity", "allocatable"} {
		if _, found, _ := unstructured.NestedFieldNoCopy(node.Object, "status", field, r.resource); found && !r.byKubelet(node, field) {
			return true
		}
	}
	return false
}

// byKubelet reports whether the kubelet has written a field's number.
func (r *removal) byKubelet(node *unstructured.Unstructured, field string) bool {
	for _, entry := range node.GetManagedFields() {
		if entry.Manager != kubeletManager || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			continue // what is not understood is not the kubelet's
		}
		if _, found, _ := unstructured.NestedFieldNoCopy(fields, "f:status", "f:"+field, "f:"+r.resource); found {
			return true
		}
	}
	return false
}
