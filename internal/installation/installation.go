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
	"mutatingadmissionpolicy":   policy("MutatingAdmissionPolic"),
	"validatingadmissionpolicy": policy("ValidatingAdmissionPolic"),
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
	nodes, err := i.nodes(ctx)
	if err != nil {
		c := failed(err)
		c.Name = "EPC"
		return append(checks, c)
	}
	c := i.epc(nodes)
	c.Name = "EPC"
	return append(append(checks, c), i.leftovers(nodes)...)
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
	return ready(ctx, causes{api, namespace}, "DaemonSet", name, s.DesiredNumberScheduled, s.NumberReady, s.UpdatedNumberScheduled)
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
	return ready(ctx, causes{api, namespace}, "Deployment", name, object.Spec.Replicas, s.ReadyReplicas, s.UpdatedReplicas)
}

// ready checks how many of the wanted pods are ready and up to date, and finds out why others
// are not.
func ready(ctx context.Context, causes causes, kind, name string, wanted, ready, updated int) Check {
	c := Check{OK: ready >= wanted && updated >= wanted, Seen: fmt.Sprintf("%d of %d pods are ready", ready, wanted)}
	if c.OK {
		return c
	}
	if ready >= wanted {
		c.Seen = fmt.Sprintf("%d of %d pods are up to date: an update is under way, or stuck", updated, wanted)
	}
	why := causes.of(ctx, kind, name, wanted)
	if why.seen != "" {
		c.Seen += ": " + why.seen
	}
	c.Remedy = why.remedy
	return c
}

// policy returns a function that checks that an admission policy of a kind, by its name without
// its last letter, is in force: that there are the policy and a binding of the same name.
func policy(stem string) func(ctx context.Context, api *API, namespace, name string) Check {
	return func(ctx context.Context, api *API, _, name string) Check {
		// Version v1 has mutating policies since Kubernetes 1.36, validating ones since 1.30.
		group := "/apis/admissionregistration.k8s.io/v1/" + strings.ToLower(stem)
		var binding struct{ Spec struct{ PolicyName string } }
		if err := api.get(ctx, group+"ies/"+name, new(struct{})); err != nil {
			return failed(fmt.Errorf("the %sy %w", stem, err))
		}
		if err := api.get(ctx, group+"ybindings/"+name, &binding); err != nil {
			return failed(fmt.Errorf("the %syBinding %w", stem, err))
		}
		if binding.Spec.PolicyName != name {
			return Check{Seen: fmt.Sprintf("the %syBinding is for the policy %q", stem, binding.Spec.PolicyName), Remedy: "restore it with 'helm upgrade'"}
		}
		return Check{OK: true, Seen: "in force"}
	}
}

// node is as much of a node as is looked at.
type node struct {
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
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

// What the daemons write about nodes, and the objects that keep it up to date.
const (
	epcCondition    = "SGXEPCAvailable"
	quotesCondition = "SGXQuotesAvailable"
	label           = "confcom.github.io/sgx"
	reason          = "confcom.github.io/sgx-reason" // an annotation
)

var (
	conditionsWriter = Object{"DaemonSet", "sgx-node-resource"}
	labeller         = Object{"DaemonSet", "sgx-node-labeller"}
)

func (n node) hasCondition() bool {
	for _, c := range n.Status.Conditions {
		if c.Type == epcCondition || c.Type == quotesCondition {
			return true
		}
	}
	return false
}

func (n node) hasLabel() bool {
	_, labelled := n.Metadata.Labels[label]
	_, explained := n.Metadata.Annotations[reason]
	return labelled || explained
}

// leftovers checks that nodes have nothing that an installation with other values, such as
// one before 'helm rollback', has written, and that this one does not keep up to date. It
// returns no check if there is nothing.
func (i Installation) leftovers(nodes []node) []Check {
	var checks []Check
	for _, what := range []struct {
		name   string
		writer Object
		has    func(node) bool
		seen   string
		remedy string
	}{
		{"conditions", conditionsWriter, node.hasCondition,
			"have the conditions " + epcCondition + " or " + quotesCondition + ", which nothing keeps up to date",
			`remove them from each of these nodes: kubectl patch node NODE --subresource=status --type=strategic --patch '{"status": {"conditions": [{"type": "` + epcCondition + `", "$patch": "delete"}, {"type": "` + quotesCondition + `", "$patch": "delete"}]}}'`},
		{"label", labeller, node.hasLabel,
			"have the label " + label + " or its reason, which nothing keeps up to date",
			"the next 'helm upgrade' removes them; so does 'kubectl label nodes --all " + label + "-' with 'kubectl annotate nodes --all " + reason + "-'"},
	} {
		var names []string
		for _, n := range nodes {
			if what.has(n) {
				names = append(names, n.Metadata.Name)
			}
		}
		if len(names) > 0 && !slices.Contains(i.Objects, what.writer) {
			checks = append(checks, Check{Name: what.name, Seen: fmt.Sprintf("%d nodes %s: %s", len(names), what.seen, some(names, ", ")), Remedy: what.remedy})
		}
	}
	return checks
}

// some returns the first of some texts, and how many there are more.
func some(texts []string, separator string) string {
	const most = 5
	if len(texts) <= most {
		return strings.Join(texts, separator)
	}
	return fmt.Sprintf("%s%sand %d more", strings.Join(texts[:most], separator), separator, len(texts)-most)
}

// lack returns why the node has no EPC, as far as that is known, and whether it should have
// some. Its condition counts if something keeps it up to date.
func (n node) lack(kept bool) (why string, wanted bool) {
	for _, c := range n.Status.Conditions {
		if kept && c.Type == epcCondition && c.Status != "True" {
			return c.Message, c.Reason != "NoEPC" || n.labelled()
		}
	}
	if n.labelled() {
		return "it has the label of an SGX node", true
	}
	return "", false
}

// nodes returns all nodes.
func (i Installation) nodes(ctx context.Context) ([]node, error) {
	var nodes []node
	err := pages(ctx, i.API, "/api/v1/nodes", func(n node) error {
		nodes = append(nodes, n)
		return nil
	})
	return nodes, err
}

// epc checks that nodes advertise EPC.
func (i Installation) epc(nodes []node) Check {
	var with int
	var total int64
	var without, idle []string // those that should have EPC, and others
	for _, n := range nodes {
		mib, err := whole(n.Status.Allocatable[i.Resource])
		if err != nil {
			return Check{Seen: fmt.Sprintf("node %s: %s: %v", n.Metadata.Name, i.Resource, err), Remedy: "find out what else writes this resource: confcom writes whole numbers"}
		}
		if mib > 0 {
			with++
			total += mib
		} else if why, wanted := n.lack(slices.Contains(i.Objects, conditionsWriter)); wanted {
			without = append(without, n.Metadata.Name+": "+why)
		} else if why != "" {
			idle = append(idle, n.Metadata.Name+": "+why)
		}
	}
	switch {
	case len(without) > 0:
		return Check{Seen: fmt.Sprintf("%d of %d nodes advertise %s, and these should: %s", with, len(nodes), i.Resource, some(without, "; ")),
			Remedy: "'confcom node', run on such a node, shows what is missing; if its device plugin is not ready, start there"}
	case with == 0:
		c := Check{Seen: fmt.Sprintf("none of %d nodes advertises %s", len(nodes), i.Resource),
			Remedy: "'confcom node', run on a node that should have SGX, shows what is missing; if sgx-device-plugin has a problem, start there"}
		if len(idle) > 0 {
			c.Seen += ": " + some(idle, "; ")
		}
		return c
	}
	return Check{OK: true, Seen: fmt.Sprintf("%d of %d nodes advertise %d MiB in all", with, len(nodes), total)}
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
