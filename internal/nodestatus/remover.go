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

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/nodeguard"
)

const (
	// removeTimeout bounds the removal: 'helm uninstall' waits for it. It is long enough
	// for an API server that restarts meanwhile.
	removeTimeout = 100 * time.Second
	// revokeTime is how long the API server may take to apply a change of permissions,
	// and how long a write may take that it had allowed before.
	revokeTime = 2 * time.Second
	// closingTime is how long nodes have no allocatable EPC before their device plugins
	// end, so that the kubelets have admitted all pods that were bound before.
	closingTime = 6 * time.Second
	// endTimeout is how long the removal waits until the device plugins have ended. Those
	// of nodes that are not reachable do not end.
	endTimeout = 30 * time.Second
	// retryTime is the time between two attempts.
	retryTime = time.Second
	// pluginDaemonSet is the DaemonSet of the device plugin.
	pluginDaemonSet = "sgx-device-plugin"
	// kubeletManager is the name under which kubelets change the status of nodes.
	kubeletManager = "kubelet"
)

// Remover removes EPC from the status of all nodes, when confcom is uninstalled: the number
// and the conditions. Without confcom nothing gives the device to pods, so they must not be
// scheduled by a number that remains.
//
// It keeps new pods with EPC away first, and then ends the device plugins: a pod that a
// kubelet gets after its plugin has ended fails.
//
// A number that a kubelet has written stays: the kubelet would write it again. It is 0 once
// the device plugin has gone.
type Remover struct {
	// Resource is the name of the resource that counts MiB of EPC.
	Resource epc.ResourceName
	// Namespace is that of the device plugins; empty if they are not to be ended.
	Namespace string
	// Kubeconfig is the file that describes how to connect to the API server; empty
	// for the service account of the pod.
	Kubeconfig string
}

// Run takes the permission to write from all writers, which would write the number again,
// and then removes it. It retries for a while what fails, and may be run again.
func (r *Remover) Run(ctx context.Context, env *daemon.Environment) error {
	client, err := nodeguard.Connect(r.Kubeconfig, env.Log)
	if err != nil {
		return err
	}
	removal := &removal{
		resource: string(r.Resource),
		nodes:    nodeguard.Nodes(client),
		bindings: nodeguard.Bindings(client),
		log:      env.Log.With("resource", r.Resource),
	}
	if r.Namespace != "" {
		removal.plugins = client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}).Namespace(r.Namespace)
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	return removal.run(ctx)
}

// nodeList lists and patches nodes.
type nodeList interface {
	nodes
	nodeguard.Lister
}

// plugins deletes the DaemonSet of the device plugins, and sees whether it has gone.
type plugins interface {
	getter
	nodeguard.Deleter
}

// removal is one removal of the number.
type removal struct {
	resource string
	nodes    nodeList
	bindings nodeguard.Deleter
	plugins  plugins // nil if they are not to be ended
	log      *slog.Logger
}

// notYet is why a step has to be taken again, which is no failure.
type notYet string

func (n notYet) Error() string { return string(n) }

// run removes the number until no node has it any more, or ctx is done.
func (r *removal) run(ctx context.Context) error {
	for _, step := range []struct {
		do   func(context.Context) error
		then time.Duration // until the next step
	}{
		{r.revoke, 0},
		{r.close, revokeTime},
		{r.close, closingTime - revokeTime}, // a writer may have written again until then
		{r.end(), revokeTime},               // until a kubelet's write that was under way has arrived
		{r.remove(), 0},
	} {
		if err := r.retry(ctx, step.do); err != nil {
			return fmt.Errorf("remove %s from the status of nodes: %w", r.resource, err)
		}
		if step.then > 0 {
			if err := pause(ctx, step.then); err != nil {
				return fmt.Errorf("remove %s from the status of nodes: %w", r.resource, err)
			}
		}
	}
	return nil
}

// retry does something until it succeeds or ctx is done.
func (r *removal) retry(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if !errors.As(err, new(notYet)) {
			r.log.Warn("remove from the status of nodes failed, retrying", "error", err)
		}
		if pause(ctx, retryTime) != nil {
			return err
		}
	}
}

// pause waits for a time, or until ctx is done, which is an error.
func pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// revoke takes the permission to write from the writers.
func (r *removal) revoke(ctx context.Context) error {
	return nodeguard.Revoke(ctx, r.bindings, component)
}

// close keeps new pods away from all nodes with EPC. Its condition has a policy of the chart
// keep the kubelet from restoring the number.
func (r *removal) close(ctx context.Context) error {
	found, err := r.patchAll(ctx, r.closingPatch)
	if err == nil {
		r.log.Info("new pods with EPC are kept away", "nodes", len(found))
	}
	return err
}

// end returns what ends the device plugins, and waits for that.
func (r *removal) end() func(context.Context) error {
	var deadline time.Time
	return func(ctx context.Context) error {
		if r.plugins == nil {
			return nil
		}
		if deadline.IsZero() {
			foreground := metav1.DeletePropagationForeground // it goes after its pods
			err := r.plugins.Delete(ctx, pluginDaemonSet, metav1.DeleteOptions{PropagationPolicy: &foreground})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete the DaemonSet %s: %w", pluginDaemonSet, err)
			}
			deadline = time.Now().Add(endTimeout)
		}
		_, err := r.plugins.Get(ctx, pluginDaemonSet, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return fmt.Errorf("see whether the DaemonSet %s has gone: %w", pluginDaemonSet, err)
		case time.Now().After(deadline):
			r.log.Warn("some device plugins have not ended, such as those of nodes that are not reachable", "after", endTimeout)
			return nil
		}
		return notYet("the DaemonSet " + pluginDaemonSet + " still exists")
	}
}

// remove returns what removes the number and the conditions, until no node has them.
func (r *removal) remove() func(context.Context) error {
	removed := make(map[string]bool) // the names of nodes
	return func(ctx context.Context) error {
		found, err := r.patchAll(ctx, r.patch)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			for _, name := range found {
				removed[name] = true
			}
			return notYet(fmt.Sprintf("%d nodes still have it: something writes it again", len(found)))
		}
		r.log.Info("removed from the status of nodes", "nodes", len(removed))
		return nil
	}
}

// patchAll patches the status of each node for which there is a patch, and returns the names
// of these nodes.
func (r *removal) patchAll(ctx context.Context, patchOf func(*unstructured.Unstructured) ([]byte, error)) (found []string, err error) {
	return nodeguard.PatchAll(ctx, r.nodes, func(node *unstructured.Unstructured) (sent bool, err error) {
		patch, err := patchOf(node)
		if err != nil || patch == nil {
			return false, err
		}
		_, err = r.nodes.Patch(ctx, node.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return true, err
	})
}

// closingPatch returns the strategic merge patch that keeps new pods away from a node, or nil
// if it has no EPC.
func (r *removal) closingPatch(node *unstructured.Unstructured) ([]byte, error) {
	quantity, found, _ := unstructured.NestedString(node.Object, "status", "allocatable", r.resource)
	reason := findCondition(node, epcCondition).reason
	closed := quantity == "0" && (reason == "" || reason == reasonReleasing) // a writer may have restored either
	if !found || closed {
		return nil, nil
	}
	now := time.Now()
	c := condition{kind: epcCondition, reason: reasonReleasing, message: "confcom is being uninstalled: new pods with EPC wait"}
	patch := c.patch(now, now)
	patch["status"].(map[string]any)["allocatable"] = map[string]string{r.resource: "0"}
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return text, nil
}

// patch returns the strategic merge patch that removes what a node has, or nil if it has
// nothing.
func (r *removal) patch(node *unstructured.Unstructured) ([]byte, error) {
	status := make(map[string]any)
	if r.written(node) {
		status["capacity"] = map[string]any{r.resource: nil}
		status["allocatable"] = map[string]any{r.resource: nil}
	}
	var conditions []map[string]string
	for _, kind := range []string{epcCondition, quotesCondition} {
		if findCondition(node, kind).status != "" {
			conditions = append(conditions, map[string]string{"type": kind, "$patch": "delete"})
		}
	}
	if len(conditions) > 0 {
		status["conditions"] = conditions
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
