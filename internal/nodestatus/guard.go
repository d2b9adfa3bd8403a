package nodestatus

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/nodeguard"
)

// forbiddenResource is a resource that the writer may not write.
const forbiddenResource = "confcom.github.io/forbidden"

// newGuard returns what checks that an admission policy restricts this daemon.
func newGuard(node string, nodes nodes) *nodeguard.Guard {
	patch := []byte(`{"status":{"capacity":{"` + forbiddenResource + `":"1"}}}`)
	return &nodeguard.Guard{Daemon: component, Forbidden: forbiddenResource, Patch: func(ctx context.Context, options metav1.PatchOptions) error {
		_, err := nodes.Patch(ctx, node, types.MergePatchType, patch, options, "status")
		return err
	}}
}
