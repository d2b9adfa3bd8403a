package nodestatus

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// devicePolicyName is the name of the MutatingAdmissionPolicy that gives the device to
// containers with EPC in the node's status, and of its binding. The chart installs both.
const devicePolicyName = "sgx-enclave-with-epc"

// getter gets objects.
type getter interface {
	Get(ctx context.Context, name string, options metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// devicePolicy checks that this policy exists. Without it, pods with EPC would start
// without the device, and nothing would report that.
type devicePolicy struct {
	policies, bindings getter

	checked time.Time // when the API server last answered, zero for never
	missing bool      // its answer
}

// check reports whether the policy or its binding does not exist. It asks the API server
// if it has not done so for a while. An error means that the server's answer does not show
// it.
func (p *devicePolicy) check(ctx context.Context) (missing bool, err error) {
	if !p.checked.IsZero() && time.Since(p.checked) < policyInterval {
		return p.missing, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	missing = false
	for _, kind := range []getter{p.policies, p.bindings} {
		_, err := kind.Get(ctx, devicePolicyName, metav1.GetOptions{})
		switch {
		case err == nil:
		case apierrors.IsNotFound(err):
			missing = true
		default:
			return false, fmt.Errorf("check that the admission policy %s exists: %w", devicePolicyName, err)
		}
	}
	p.checked, p.missing = time.Now(), missing
	return missing, nil
}
