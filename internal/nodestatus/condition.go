package nodestatus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/epc"
)

// conditionType is the type of the node's condition: whether pods can get its EPC.
const conditionType = "SGXEPCAvailable"

// reasonReleasing is the reason of the condition while devices are about to be withdrawn, or
// the kubelet has not forgotten them. A policy of the chart goes by it.
const reasonReleasing = "KubeletReleasesDevices"

// component is the source of events.
const component = "sgx-node-resource"

// condition is what the node's condition says.
type condition struct {
	available bool
	reason    string // in camel case
	message   string
	// warning is whether somebody has to do something.
	warning bool
}

// conditionOf returns the condition of a node. The policies for pods with EPC matter in mode
// node only.
func conditionOf(a epc.Advertisement, p policies) condition {
	c := condition{message: a.Message}
	switch a.State {
	case epc.StateNone:
		c.reason = "NoEPC"
	case epc.StateDevices:
		c.available, c.reason = true, "Devices"
		if a.Held() {
			c.reason = "PodsHoldDevices"
		}
	case epc.StateClosing, epc.StateReleasing:
		c.reason = reasonReleasing
	case epc.StateNode:
		c.available, c.reason = true, "NodeStatus"
		if a.Held() {
			c.reason = "PodsUseNodeStatus"
		}
		if p != (policies{}) {
			c = condition{available: p.adding == inForce, reason: "PolicyChanged", warning: true, message: policyMessage(a, p)}
			if p.adding == missing || p.refusing == missing {
				c.reason = "PolicyMissing"
			}
		}
	}
	return c
}

// policyMessage says what is wrong with the policies, what follows from it, and what to do.
func policyMessage(a epc.Advertisement, p policies) string {
	is := map[standing]string{changed: "is not as the chart has installed it", missing: "or its binding does not exist"}
	const restore = "Delete what is left of it, and run 'helm upgrade', which restores it"
	adding, refusing := "the MutatingAdmissionPolicy "+devicePolicyName+" ", "the ValidatingAdmissionPolicy "+devicePolicyName+" "
	switch {
	case p.adding == inForce:
		return refusing + is[p.refusing] + ", so nothing refuses pods with EPC that do not get the SGX device. " + restore
	case p.refusing == inForce:
		return adding + is[p.adding] + ", so pods with EPC that do not get the SGX device from it are refused when they are created. " + restore
	}
	text := adding + is[p.adding] + ", and " + refusing + is[p.refusing] + ", so pods with EPC may start without the SGX device. "
	if p.lax() {
		text += "The node advertises no EPC until then. "
	}
	// The pods that were created meanwhile have started without the device, or will.
	return text + restore + fmt.Sprintf(". Delete the pods that were created meanwhile, since they run without the device or will. This lists them: "+
		`kubectl get pods -A -o json | jq -r '.items[] | select(any(.spec.containers[]; .resources.limits // {} | has("%s") and (has("%s") | not))) | .metadata.namespace + "/" + .metadata.name'`,
		a.Resource, a.DeviceResource)
}

// status returns the status of the condition.
func (c condition) status() string {
	if c.available {
		return string(corev1.ConditionTrue)
	}
	return string(corev1.ConditionFalse)
}

// patch returns the strategic merge patch of the node that sets the condition.
func (c condition) patch(transition, now time.Time) map[string]any {
	return map[string]any{"status": map[string]any{"conditions": []map[string]string{{
		"type":               conditionType,
		"status":             c.status(),
		"reason":             c.reason,
		"message":            c.message,
		"lastTransitionTime": transition.UTC().Format(time.RFC3339),
		"lastHeartbeatTime":  now.UTC().Format(time.RFC3339),
	}}}}
}

// findCondition returns the status and the reason of a node's condition, and when that
// status began. They are empty if the node does not have the condition.
func findCondition(node *unstructured.Unstructured) (status, reason string, transition time.Time) {
	if node == nil {
		return "", "", time.Time{}
	}
	conditions, _, _ := unstructured.NestedSlice(node.Object, "status", "conditions") // none if it is something else
	for _, entry := range conditions {
		c, _ := entry.(map[string]any)
		if c["type"] != conditionType {
			continue
		}
		status, _ = c["status"].(string)
		reason, _ = c["reason"].(string)
		text, _ := c["lastTransitionTime"].(string)
		transition, _ = time.Parse(time.RFC3339, text) // zero if it has none
	}
	return status, reason, transition
}

// creator creates objects.
type creator interface {
	Create(ctx context.Context, object *unstructured.Unstructured, options metav1.CreateOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// event returns the event about a node whose condition has this reason since now.
func (c condition) event(node string, now time.Time) (*unstructured.Unstructured, error) {
	kind := corev1.EventTypeNormal
	if c.warning {
		kind = corev1.EventTypeWarning
	}
	const maxMessage = 1024 // of an event
	message := c.message
	if len(message) > maxMessage {
		message = message[:maxMessage-len("…")] + "…"
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{Name: node + ".sgx-epc." + strconv.FormatInt(now.UnixNano(), 16), Namespace: metav1.NamespaceDefault},
		// Like a kubelet's events of its node, whose UID is the name: kubectl finds it by that.
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: types.UID(node)},
		Reason:         c.reason,
		Message:        message,
		Source:         corev1.EventSource{Component: component, Host: node},
		FirstTimestamp: metav1.NewTime(now),
		LastTimestamp:  metav1.NewTime(now),
		Count:          1,
		Type:           kind,
	})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return &unstructured.Unstructured{Object: object}, nil
}
