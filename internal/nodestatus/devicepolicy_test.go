package nodestatus

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is the answer to a request for a policy or a binding.
type object struct {
	spec string // as JSON; empty if it does not exist
	sum  string // its annotation
	err  error
}

func (o object) Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error) {
	if o.err != nil {
		return nil, o.err
	}
	if o.spec == "" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "policies"}, devicePolicyName)
	}
	u := new(unstructured.Unstructured)
	if err := u.UnmarshalJSON([]byte(`{"kind": "Policy", "metadata": {"annotations": {"` + specAnnotation + `": "` + o.sum + `"}}, "spec": ` + o.spec + `}`)); err != nil {
		return nil, err
	}
	return u, nil
}

// A policy stands if it and its binding are as the chart has installed them.
func TestStanding(t *testing.T) {
	const spec, sum = `{"b": ["x && y"], "a": {}}`, "646c3ed9b7d4f5d91eb8ad00b7e5fa535c19f253cac4e9e5de927947bfafa8b8"
	var (
		good    = object{spec: spec, sum: sum}
		ordered = object{spec: `{"a":{},"b":["x && y"]}`, sum: sum}
		more    = object{spec: `{"a": {}, "b": ["x && y"], "matchResources": {}}`, sum: sum}
		less    = object{spec: `{"b": ["x && y"]}`, sum: sum}
		other   = object{spec: `{"b": ["x || y"], "a": {}}`, sum: sum}
		older   = object{spec: `{"c": 1}`}
		absent  = object{}
		unknown = object{err: errors.New("connection refused")}
	)
	for _, test := range []struct {
		name            string
		policy, binding object
		want            standing
		err             string
	}{
		{"as installed", good, ordered, inForce, ""},
		{"of an older chart", older, older, inForce, ""},
		{"no policy", absent, good, missing, ""},
		{"no binding", good, absent, missing, ""},
		{"a member is added", more, good, changed, ""},
		{"a member is gone", less, good, changed, ""},
		{"a value differs", good, other, changed, ""},
		{"changed, and no binding", other, absent, missing, ""},
		{"no policy, and a changed binding", absent, other, missing, ""},
		{"nothing is known", good, unknown, 0, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := standingOf(t.Context(), []getter{test.policy, test.binding})
			if got != test.want || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%d, error %v; want %d, %q", got, err, test.want, test.err)
			}
		})
	}
}

// What is wrong with the policies, what the node's condition says, and whether its EPC is 0.
func TestPolicies(t *testing.T) {
	for _, test := range []struct {
		policies policies
		reason   string
		status   string
		lax      bool
		message  []string
	}{
		{policies{inForce, inForce}, "NodeStatus", "True", false, []string{"in words"}},
		{policies{inForce, changed}, "PolicyChanged", "True", false, []string{"the ValidatingAdmissionPolicy sgx-enclave-with-epc is not as the chart", "helm upgrade"}},
		{policies{inForce, missing}, "PolicyMissing", "True", false, []string{"the ValidatingAdmissionPolicy sgx-enclave-with-epc or its binding does not exist", "helm upgrade"}},
		{policies{changed, inForce}, "PolicyChanged", "False", false, []string{"the MutatingAdmissionPolicy sgx-enclave-with-epc is not as", "are refused when they are created", "helm upgrade"}},
		{policies{missing, inForce}, "PolicyMissing", "False", false, []string{"or its binding does not exist", "are refused when they are created", "helm upgrade"}},
		{policies{changed, changed}, "PolicyChanged", "False", false, []string{"may start without the SGX device", "helm upgrade", "kubectl get pods"}},
		{policies{missing, changed}, "PolicyMissing", "False", false, []string{"may start without the SGX device", "helm upgrade", "kubectl get pods"}},
		{policies{changed, missing}, "PolicyMissing", "False", true, []string{"advertises no EPC", "helm upgrade", "kubectl get pods"}},
		{policies{missing, missing}, "PolicyMissing", "False", true, []string{"advertises no EPC", "helm upgrade", `has("example.com/epc") and (has("example.com/enclave") | not)`}},
	} {
		c := conditionOf(inNode, test.policies)
		if c.reason != test.reason || c.status() != test.status || test.policies.lax() != test.lax || c.warning != (test.policies != policies{}) {
			t.Errorf("%+v: %+v, lax %t; want %+v", test.policies, c, test.policies.lax(), test)
		}
		for _, part := range test.message {
			if !strings.Contains(c.message, part) {
				t.Errorf("%+v: message %q, want %q", test.policies, c.message, part)
			}
		}
		if c := conditionOf(inDevices, test.policies); c.reason != "Devices" || c.warning {
			t.Errorf("mode devices, %+v: %+v", test.policies, c)
		}
	}
}
