// Package installation checks, from a pod, whether an installation of the chart works: its
// objects are there, its pods are ready, and nodes advertise EPC.
package installation

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Object is an object of the chart.
type Object struct{ Kind, Name string }

// kinds are the kinds that can be checked, by their names in lower case, each with how.
var kinds = map[string]func(ctx context.Context, api *API, namespace, name string) Check{
	"daemonset":                 daemonSet,
	"deployment":                deployment,
	"mutatingadmissionpolicy":   policy("mutatingadmissionpolic"),
	"validatingadmissionpolicy": policy("validatingadmissionpolic"),
}

// ParseObject reads KIND/NAME.
func ParseObject(text string) (Object, error) {
	kind, name, _ := strings.Cut(text, "/")
	if _, known := kinds[strings.ToLower(kind)]; !known || name == "" || url.PathEscape(name) != name {
		return Object{}, errors.New("want KIND/NAME of a DaemonSet, Deployment, MutatingAdmissionPolicy or ValidatingAdmissionPolicy")
	}
	return Object{kind, name}, nil
}

func (o Object) String() string { return o.Kind + "/" + o.Name }

// Installation is what was installed.
type Installation struct {
	API       *API
	Namespace string
	Objects   []Object
	Resource  string // the EPC of nodes
}

// Check is what was found about one thing.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Seen   string `json:"seen"`
	Remedy string `json:"remedy,omitempty"` // empty if it is OK
}

// Examine checks everything once.
func (i Installation) Examine(ctx context.Context) []Check {
	var checks []Check
	for _, o := range i.Objects {
		c := kinds[strings.ToLower(o.Kind)](ctx, i.API, i.Namespace, o.Name)
		c.Name = o.Name
		checks = append(checks, c)
	}
	c := i.epc(ctx)
	c.Name = "EPC"
	return append(checks, c)
}

// Works reports whether all is well.
func Works(checks []Check) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK })
}

func failed(err error) Check {
	remedy := "repeat the test"
	if errors.Is(err, errNotFound) {
		remedy = "restore it with 'helm upgrade'"
	}
	return Check{Seen: err.Error(), Remedy: remedy}
}

// nowhere is the remedy if a DaemonSet has no node.
const nowhere = "the chart's value nodes is 'sgx': nodes that Node Feature Discovery or Intel's tools have labelled as SGX nodes, and Azure's SGX sizes. " +
	"Compare 'kubectl get nodes --show-labels' with the affinity in 'kubectl get daemonset -o yaml'. " +
	"Install Node Feature Discovery, or set nodes=all; if the nodes have taints, add tolerations"

// daemonSet checks that a DaemonSet has pods and that they are ready.
func daemonSet(ctx context.Context, api *API, namespace, name string) Check {
	var object struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ObservedGeneration                                          int64
			DesiredNumberScheduled, NumberReady, UpdatedNumberScheduled int
		}
	}
	if err := api.get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/daemonsets/"+name, &object); err != nil {
		return failed(err)
	}
	s := object.Status
	switch {
	case s.ObservedGeneration < object.Metadata.Generation:
		return Check{Seen: "Kubernetes has not seen the last change of it yet", Remedy: "repeat the test"}
	case s.DesiredNumberScheduled == 0:
		return Check{Seen: "DESIRED is 0: Kubernetes finds no node on which its pods may run", Remedy: nowhere}
	}
	return pods(namespace, name, s.DesiredNumberScheduled, s.NumberReady, s.UpdatedNumberScheduled)
}

// deployment checks that a Deployment's pods are ready.
func deployment(ctx context.Context, api *API, namespace, name string) Check {
	var object struct {
		Metadata struct{ Generation int64 }
		Spec     struct{ Replicas int }
		Status   struct {
			ObservedGeneration             int64
			ReadyReplicas, UpdatedReplicas int
		}
	}
	if err := api.get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+name, &object); err != nil {
		return failed(err)
	}
	s := object.Status
	switch {
	case s.ObservedGeneration < object.Metadata.Generation:
		return Check{Seen: "Kubernetes has not seen the last change of it yet", Remedy: "repeat the test"}
	case object.Spec.Replicas == 0:
		return Check{Seen: "it has no replicas", Remedy: "restore it with 'helm upgrade'"}
	}
	return pods(namespace, name, object.Spec.Replicas, s.ReadyReplicas, s.UpdatedReplicas)
}

// pods checks how many of the wanted pods are ready and up to date.
func pods(namespace, name string, wanted, ready, updated int) Check {
	show := fmt.Sprintf("kubectl -n %s describe pods -l app.kubernetes.io/name=%s", namespace, name)
	switch {
	case ready < wanted:
		return Check{Seen: fmt.Sprintf("%d of %d pods are ready", ready, wanted), Remedy: "this shows why: " + show}
	case updated < wanted:
		return Check{Seen: fmt.Sprintf("%d of %d pods are up to date: an update is under way, or stuck", updated, wanted), Remedy: "wait for it; this shows how far it is: " + show}
	}
	return Check{OK: true, Seen: fmt.Sprintf("%d of %d pods are ready", ready, wanted)}
}

// policy returns a function that checks that an admission policy of a kind is in force: that
// there are the policy and a binding of the same name.
func policy(stem string) func(ctx context.Context, api *API, namespace, name string) Check {
	return func(ctx context.Context, api *API, _, name string) Check {
		// Version v1 has mutating policies since Kubernetes 1.36, validating ones since 1.30.
		const group = "/apis/admissionregistration.k8s.io/v1/"
		var binding struct{ Spec struct{ PolicyName string } }
		if err := api.get(ctx, group+stem+"ies/"+name, new(struct{})); err != nil {
			return failed(fmt.Errorf("the policy %w", err))
		}
		if err := api.get(ctx, group+stem+"ybindings/"+name, &binding); err != nil {
			return failed(fmt.Errorf("the binding of the policy %w", err))
		}
		if binding.Spec.PolicyName != name {
			return Check{Seen: fmt.Sprintf("the binding is for the policy %q", binding.Spec.PolicyName), Remedy: "restore it with 'helm upgrade'"}
		}
		return Check{OK: true, Seen: "in force"}
	}
}

// node is as much of a node as is looked at.
type node struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Status struct {
		Allocatable map[string]string
		Conditions  []struct{ Type, Status, Reason, Message string }
	}
}

// sgxLabels are the labels of SGX nodes, by which the chart selects nodes.
var sgxLabels = []string{"feature.node.kubernetes.io/cpu-security.sgx.enabled", "intel.feature.node.kubernetes.io/sgx", "sgx.intel.com/capable"}

func (n node) labelled() bool {
	return slices.ContainsFunc(sgxLabels, func(l string) bool { return n.Metadata.Labels[l] == "true" })
}

// lack returns why the node has no EPC, if it should have some.
func (n node) lack() (why string, wanted bool) {
	for _, c := range n.Status.Conditions {
		if c.Type == "SGXEPCAvailable" && c.Status != "True" && (c.Reason != "NoEPC" || n.labelled()) {
			return c.Message, true
		}
	}
	return "it has the label of an SGX node", n.labelled()
}

// epc checks that nodes advertise EPC.
func (i Installation) epc(ctx context.Context) Check {
	var nodes, with int
	var total int64
	var without []string
	for next := ""; ; {
		var page struct {
			Metadata struct{ Continue string }
			Items    []node
		}
		if err := i.API.get(ctx, "/api/v1/nodes?limit=250&continue="+url.QueryEscape(next), &page); err != nil {
			return failed(err)
		}
		for _, n := range page.Items {
			nodes++
			mib, err := whole(n.Status.Allocatable[i.Resource])
			if err != nil {
				return Check{Seen: fmt.Sprintf("node %s: %s: %v", n.Metadata.Name, i.Resource, err), Remedy: "find out what else writes this resource: confcom writes whole numbers"}
			}
			if mib > 0 {
				with++
				total += mib
			} else if why, wanted := n.lack(); wanted {
				without = append(without, n.Metadata.Name+": "+why)
			}
		}
		if next = page.Metadata.Continue; next == "" {
			break
		}
	}
	switch {
	case len(without) > 0:
		const most = 5
		more := ""
		if len(without) > most {
			more = fmt.Sprintf("; and %d more", len(without)-most)
			without = without[:most]
		}
		return Check{Seen: fmt.Sprintf("%d of %d nodes advertise %s, and these should: %s%s", with, nodes, i.Resource, strings.Join(without, "; "), more),
			Remedy: "'confcom node', run on such a node, shows what is missing; if its device plugin is not ready, start there"}
	case with == 0:
		return Check{Seen: fmt.Sprintf("none of %d nodes advertises %s", nodes, i.Resource),
			Remedy: "'confcom node', run on a node that should have SGX, shows what is missing; if sgx-device-plugin has a problem, start there"}
	}
	return Check{OK: true, Seen: fmt.Sprintf("%d of %d nodes advertise %d MiB in all", with, nodes, total)}
}

// suffixes are those of whole numbers in Kubernetes: it writes 64000 as 64k.
var suffixes = map[string]int64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

// whole reads an amount of a resource. A node without the resource has none.
func whole(quantity string) (int64, error) {
	if quantity == "" {
		return 0, nil
	}
	digits := strings.TrimRight(quantity, "kKMGi")
	unit, known := suffixes[quantity[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || !known || n < 0 {
		return 0, fmt.Errorf("%q is not a number of MiB", quantity)
	}
	return n * unit, nil
}
