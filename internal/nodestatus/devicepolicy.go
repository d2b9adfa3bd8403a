package nodestatus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

const (
	// devicePolicyName is the name of the MutatingAdmissionPolicy that gives the device to
	// containers with EPC in the node's status, of the ValidatingAdmissionPolicy that
	// refuses containers without, and of their bindings. The chart installs them.
	devicePolicyName = "sgx-enclave-with-epc"
	// specAnnotation has the SHA-256 of the spec that the chart has installed, as JSON. A
	// policy without it is one of an older chart.
	specAnnotation = "confcom.github.io/spec-sha256"
)

// getter gets objects.
type getter interface {
	Get(ctx context.Context, name string, options metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// standing is what has become of a policy and its binding.
type standing int

const (
	inForce standing = iota
	changed          // not as the chart has installed them
	missing          // one of them does not exist
)

// policies are the policies for pods with EPC: what adds the device to them, and what
// refuses those without.
type policies struct{ adding, refusing standing }

// lax reports whether pods may be created that start without the device.
func (p policies) lax() bool { return p.adding != inForce && p.refusing == missing }

// devicePolicies checks these policies. Without them, pods with EPC would start without the
// device, and nothing would report that.
type devicePolicies struct {
	adding, refusing []getter // of the policy and of its binding

	checked time.Time // when the API server last answered, zero for never
	last    policies  // its answer
}

func newDevicePolicies(client dynamic.Interface) *devicePolicies {
	kinds := func(resources ...string) (kinds []getter) {
		for _, resource := range resources {
			kinds = append(kinds, client.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource}))
		}
		return kinds
	}
	return &devicePolicies{
		adding:   kinds("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
		refusing: kinds("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
	}
}

// check asks the API server for the policies if it has not done so for a while. An error
// means that nothing is known of them.
func (d *devicePolicies) check(ctx context.Context) (policies, error) {
	if !d.checked.IsZero() && time.Since(d.checked) < policyInterval {
		return d.last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	adding, err := standingOf(ctx, d.adding)
	if err != nil {
		return policies{}, err
	}
	refusing, err := standingOf(ctx, d.refusing)
	if err != nil {
		return policies{}, err
	}
	d.checked, d.last = time.Now(), policies{adding, refusing}
	return d.last, nil
}

// standingOf returns the worst standing of a policy and its binding.
func standingOf(ctx context.Context, kinds []getter) (worst standing, err error) {
	for _, kind := range kinds {
		object, err := kind.Get(ctx, devicePolicyName, metav1.GetOptions{ResourceVersion: "0"}) // from the API server's cache
		switch {
		case apierrors.IsNotFound(err):
			worst = missing
		case err != nil:
			return 0, fmt.Errorf("check the admission policy %s: %w", devicePolicyName, err)
		case isChanged(object):
			worst = max(worst, changed)
		}
	}
	return worst, nil
}

// isChanged reports whether the spec of a policy is not the one that the chart has installed.
func isChanged(object *unstructured.Unstructured) bool {
	want := object.GetAnnotations()[specAnnotation]
	if want == "" {
		return false
	}
	text, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return true
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]) != want
}
