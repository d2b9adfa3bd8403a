package top

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

// cluster reads nodes and pods.
type cluster struct {
	kubectl   kubectl
	namespace string // of the chart
	resource  string // the name of the one that counts MiB of EPC
}

// node is a node of the cluster.
type node struct {
	name                string
	capacity, available int64     // MiB of EPC: of the node, and allocatable to pods
	hasEPC              bool      // it advertises the resource, even if 0
	epc, quotes         condition // its conditions; empty if it has none
}

type condition struct{ status, reason, message string }

// pod is a pod that has not ended.
type pod struct {
	namespace, name, uid, node, phase string
	epc                               int64 // MiB that it requests
}

// daemon is a pod of the chart.
type daemon struct {
	pod
	kind string // such as sgx-quote-helper
}

// state is what the API server returned.
type state struct {
	nodes   []node
	pods    []pod // those on nodes, and those with EPC
	daemons []daemon
}

// partOf is the label of the chart's pods, and its value.
const (
	partOf    = "app.kubernetes.io/part-of"
	chart     = "confcom"
	nameLabel = "app.kubernetes.io/name"
)

// These are as much of the API's types as is needed.
type (
	metadata struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		UID       string            `json:"uid"`
		Labels    map[string]string `json:"labels"`
	}
	apiNode struct {
		Metadata metadata `json:"metadata"`
		Status   struct {
			Capacity    map[string]resource.Quantity `json:"capacity"`
			Allocatable map[string]resource.Quantity `json:"allocatable"`
			Conditions  []struct{ Type, Status, Reason, Message string }
		} `json:"status"`
	}
	apiContainer struct {
		RestartPolicy string `json:"restartPolicy"`
		Resources     struct {
			Requests map[string]resource.Quantity `json:"requests"`
		} `json:"resources"`
	}
	apiPod struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			NodeName       string         `json:"nodeName"`
			Containers     []apiContainer `json:"containers"`
			InitContainers []apiContainer `json:"initContainers"`
		} `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	list[T any] struct {
		Items []T `json:"items"`
	}
)

// read reads nodes and pods.
func (c *cluster) read(ctx context.Context) (*state, error) {
	nodes, err := get[apiNode](ctx, c.kubectl, "nodes")
	if err != nil {
		return nil, err
	}
	pods, err := get[apiPod](ctx, c.kubectl, "pods", "--all-namespaces", "--field-selector=status.phase!=Succeeded,status.phase!=Failed")
	if err != nil {
		return nil, err
	}
	s := new(state)
	for _, n := range nodes {
		s.nodes = append(s.nodes, c.node(n))
	}
	for _, p := range pods {
		of := pod{p.Metadata.Namespace, p.Metadata.Name, p.Metadata.UID, p.Spec.NodeName, p.Status.Phase, c.requested(p)}
		if of.epc > 0 || of.node != "" {
			s.pods = append(s.pods, of)
		}
		if of.namespace == c.namespace && p.Metadata.Labels[partOf] == chart && of.phase == "Running" {
			s.daemons = append(s.daemons, daemon{of, p.Metadata.Labels[nameLabel]})
		}
	}
	return s, nil
}

// get gets all objects of a kind.
func get[T any](ctx context.Context, k kubectl, kind string, args ...string) ([]T, error) {
	text, err := k.run(ctx, callTimeout, append([]string{"get", kind, "--output=json"}, args...)...)
	if err != nil {
		return nil, err
	}
	var all list[T]
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("kubectl get %s: %w", kind, err)
	}
	return all.Items, nil
}

func (c *cluster) node(n apiNode) node {
	mib := func(quantities map[string]resource.Quantity) (int64, bool) {
		q, found := quantities[c.resource]
		return q.Value(), found
	}
	of := node{name: n.Metadata.Name}
	of.capacity, of.hasEPC = mib(n.Status.Capacity)
	of.available, _ = mib(n.Status.Allocatable)
	for _, found := range n.Status.Conditions {
		switch at := (condition{found.Status, found.Reason, found.Message}); found.Type {
		case "SGXEPCAvailable":
			of.epc = at
		case "SGXQuotesAvailable":
			of.quotes = at
		}
	}
	return of
}

// requested returns how many MiB of EPC a pod requests, as the scheduler counts: init
// containers run one after the other before the rest, except those that go on running.
func (c *cluster) requested(p apiPod) int64 {
	of := func(container apiContainer) int64 {
		q := container.Resources.Requests[c.resource]
		return q.Value()
	}
	var running, most int64
	for _, container := range p.Spec.InitContainers {
		if container.RestartPolicy == "Always" {
			running += of(container)
			most = max(most, running)
			continue
		}
		most = max(most, running+of(container))
	}
	for _, container := range p.Spec.Containers {
		running += of(container)
	}
	return max(most, running)
}
