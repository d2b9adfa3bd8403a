package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// checkInterval is the time between two checks of the guard.
const checkInterval = 5 * time.Minute

// forbiddenResource is a resource that the writer may not write.
const forbiddenResource = "confcom.github.io/forbidden"

// refusal is in the API server's answer if the policy has refused a patch. Others may have: RBAC
// does without the ClusterRole, and then shows nothing about the policy.
const refusal = "ValidatingAdmissionPolicy 'sgx-node-resource' "

// errUnguarded is why the writer does not write while nothing stops it from writing more
// than it may.
var errUnguarded = errors.New("check admission policy: the API server accepts a patch that it must refuse, of " + forbiddenResource +
	": restore the ValidatingAdmissionPolicy sgx-node-resource and its binding with 'helm upgrade'")

// guard checks that an admission policy restricts this daemon. Its permission, to patch
// the status of nodes, is one to all of the status of all nodes, so without the policy its
// token is one to disturb the cluster. The check needs no other permission: it is a dry
// run of a patch that the policy must refuse, of another resource of this node. It cannot
// be one of another node, because the daemon knows no other node and may not list them.
type guard struct {
	node  string
	nodes nodes

	checked time.Time // when the policy has last refused the patch
}

// check checks the guard if it has not done so for a while. It returns errUnguarded if
// there is none, and another error if the API server's answer does not show that.
func (g *guard) check(ctx context.Context) error {
	if g == nil || !g.checked.IsZero() && time.Since(g.checked) < checkInterval {
		return nil
	}
	g.checked = time.Time{}
	patch, err := json.Marshal(map[string]any{
		"status": map[string]any{"capacity": map[string]string{forbiddenResource: "1"}},
	})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err = g.nodes.Patch(ctx, g.node, types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "status")
	switch {
	case err == nil:
		return errUnguarded
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), refusal):
		g.checked = time.Now()
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("check admission policy: forbidden, but not by the policy: "+
			"restore the ClusterRole sgx-node-resource and its binding with 'helm upgrade': %w", err)
	}
	return fmt.Errorf("check admission policy: %w", err)
}
