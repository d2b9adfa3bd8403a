package nodestatus

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/confcom/confcom/internal/epc"
)

// epcCondition and quotesCondition are the types of the node's conditions: whether pods can
// get its EPC, and whether they can get quotes.
const (
	epcCondition    = "SGXEPCAvailable"
	quotesCondition = "SGXQuotesAvailable"
)

// reasonReleasing is the reason of the condition while devices are about to be withdrawn, or
// the kubelet has not forgotten them. A policy of the chart goes by it.
const reasonReleasing = "KubeletReleasesDevices"

// reasonNoEPC is the reason of the condition of a node without EPC.
const reasonNoEPC = "NoEPC"

// component is the source of events.
const component = "sgx-node-resource"

// condition is what a condition of the node says.
type condition struct {
	kind      string // its type
	available bool
	reason    string // in camel case
	message   string
	// warning is whether somebody has to do something.
	warning bool
}

// conditionOf returns the condition of a node. The policies for pods with EPC matter in mode
// node only.
func conditionOf(a epc.Advertisement, p policies) condition {
	c := condition{kind: epcCondition, message: a.Message}
	switch a.State {
	case epc.StateNone:
		c.reason = reasonNoEPC
	case epc.StateDevices:
		c.available, c.reason = true, "Devices"
		switch {
		case a.Held():
			c.reason = "PodsHoldDevices"
		case a.WithheldMiB > 0:
			c.reason = "EPCWithheld"
		}
	case epc.StateClosing, epc.StateReleasing:
		c.reason = reasonReleasing
	case epc.StateNode:
		c.available, c.reason = true, "NodeStatus"
		if a.Held() {
			c.reason = "PodsUseNodeStatus"
		}
		if p != (policies{}) {
			c = condition{kind: epcCondition, available: p.adding == inForce, reason: "PolicyChanged", warning: true, message: policyMessage(a, p)}
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
		"type":               c.kind,
		"status":             c.status(),
		"reason":             c.reason,
		"message":            c.message,
		"lastTransitionTime": transition.UTC().Format(time.RFC3339),
		"lastHeartbeatTime":  now.UTC().Format(time.RFC3339),
	}}}}
}

// found is a condition as a node has it. It is zero if the node does not have it.
type found struct {
	status, reason, message string
	transition              time.Time // when the status began
}

// findCondition returns a node's condition of a type.
func findCondition(node *unstructured.Unstructured, kind string) (f found) {
	if node == nil {
		return found{}
	}
	conditions, _, _ := unstructured.NestedSlice(node.Object, "status", "conditions") // none if it is something else
	for _, entry := range conditions {
		c, _ := entry.(map[string]any)
		if c["type"] != kind {
			continue
		}
		f.status, _ = c["status"].(string)
		f.reason, _ = c["reason"].(string)
		f.message, _ = c["message"].(string)
		text, _ := c["lastTransitionTime"].(string)
		f.transition, _ = time.Parse(time.RFC3339, text) // zero if it has none
	}
	return f
}
