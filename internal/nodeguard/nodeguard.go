// Package nodeguard is for daemons that write to their own node. RBAC can restrict neither
// to which node they write nor what of it, so an admission policy does. A Guard checks that
// it does, before anything is written. The functions for all nodes are for the jobs that
// remove what such daemons have written.
package nodeguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// CheckInterval is the time between two checks of the policy.
	CheckInterval = 5 * time.Minute
	// checkTimeout bounds one check.
	checkTimeout = 10 * time.Second
	// listLimit is the number of nodes that are read at a time.
	listLimit = 500
)

// ErrUnguarded is why a daemon does not write while nothing stops it from writing more than
// it may.
var ErrUnguarded = errors.New("check admission policy: the API server accepts a patch that it must refuse")

// Guard checks that an admission policy restricts a daemon. Its permission, to patch nodes,
// is one to all nodes, so without the policy its token is one to disturb the cluster. The
// check needs no other permission: it is a dry run of a patch that the policy must refuse,
// of its own node. It cannot be one of another node, because the daemon knows no other node
// and may not list them.
//
// A nil Guard is for other credentials, which no policy restricts. A Guard is not for several
// goroutines.
type Guard struct {
	// Daemon is the name of the daemon, and of its policy and ClusterRole.
	Daemon string
	// Forbidden is what the patch writes, for errors.
	Forbidden string
	// Patch sends the patch, with these options.
	Patch func(ctx context.Context, options metav1.PatchOptions) error

	checked time.Time // when the policy has last refused the patch
}

// Check checks the policy if it has not done so for a while. It returns ErrUnguarded if there
// is none, and another error if the API server's answer does not show that.
func (g *Guard) Check(ctx context.Context) error {
	if g == nil || !g.checked.IsZero() && time.Since(g.checked) < CheckInterval {
		return nil
	}
	g.checked = time.Time{}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := g.Patch(ctx, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return fmt.Errorf("%w, of %s: restore the ValidatingAdmissionPolicy %s and its binding with 'helm upgrade'", ErrUnguarded, g.Forbidden, g.Daemon)
	// Others may have refused it: RBAC does without the ClusterRole, and then shows nothing
	// about the policy.
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+g.Daemon+"' "):
		g.checked = time.Now()
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("check admission policy: forbidden, but not by the policy: restore the ClusterRole %s and its binding with 'helm upgrade': %w", g.Daemon, err)
	}
	return fmt.Errorf("check admission policy: %w", err)
}

// Connect returns a client of the API server, by a kubeconfig or, if that is empty, by the
// service account of the pod. It returns rest.ErrNotInCluster if there is neither.
func Connect(kubeconfig string, log *slog.Logger) (dynamic.Interface, error) {
	klog.SetSlogLogger(log) // the client logs through klog
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create API client: %w", err)
	}
	return client, nil
}

// Nodes returns the client of nodes.
func Nodes(client dynamic.Interface) dynamic.ResourceInterface {
	return client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"})
}

// Bindings returns the client of ClusterRoleBindings.
func Bindings(client dynamic.Interface) dynamic.ResourceInterface {
	return client.Resource(schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"})
}

// Deleter deletes objects by name.
type Deleter interface {
	Delete(ctx context.Context, name string, options metav1.DeleteOptions, subresources ...string) error
}

// Revoke takes the permission to write to nodes from a daemon, whose ClusterRoleBinding has
// its name.
func Revoke(ctx context.Context, bindings Deleter, daemon string) error {
	err := bindings.Delete(ctx, daemon, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the ClusterRoleBinding %s: %w", daemon, err)
	}
	return nil
}

// Lister lists objects.
type Lister interface {
	List(ctx context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error)
}

// PatchAll calls patch for each node, and returns the names of those for which it has sent a
// patch. A node that has gone meanwhile is no error. After one that fails, it continues.
func PatchAll(ctx context.Context, nodes Lister, patch func(node *unstructured.Unstructured) (sent bool, err error)) (patched []string, err error) {
	options := metav1.ListOptions{Limit: listLimit}
	var failed error // the first failure; the others are alike
	for {
		list, err := nodes.List(ctx, options)
		if err != nil {
			return patched, errors.Join(failed, fmt.Errorf("list nodes: %w", err))
		}
		for _, node := range list.Items {
			sent, err := patch(&node)
			if sent {
				patched = append(patched, node.GetName())
			}
			if err != nil && !apierrors.IsNotFound(err) && failed == nil {
				failed = fmt.Errorf("patch node %s: %w", node.GetName(), err)
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return patched, failed
		}
	}
}
