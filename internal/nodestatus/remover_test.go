package nodestatus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

const testResource = "example.com/epc"

// fakeCluster is the part of an API server that a removal uses, with one node per page.
type fakeCluster struct {
	nodes   []*unstructured.Unstructured
	writes  bool // whether a writer still writes, as it may do until its binding is deleted
	revoked bool
	denied  int // how many calls fail first
	gone    string
	patches []string
	plugin  pluginState
}

// pluginState is that of the DaemonSet of the device plugin.
type pluginState struct {
	exists  bool
	ends    time.Duration // how long that takes; negative for never
	deleted time.Time     // when that began
}

func (c *fakeCluster) fail() error {
	if c.denied == 0 {
		return nil
	}
	c.denied--
	return errors.New("not now")
}

// fakePlugins is the DaemonSet of a cluster.
type fakePlugins struct{ *fakeCluster }

func (c fakePlugins) Delete(_ context.Context, name string, options metav1.DeleteOptions, _ ...string) error {
	if err := c.fail(); err != nil {
		return err
	}
	if name != "sgx-device-plugin" || *options.PropagationPolicy != metav1.DeletePropagationForeground {
		return fmt.Errorf("unexpected deletion of %s: %+v", name, options)
	}
	for _, node := range c.nodes {
		if quantity, _, _ := unstructured.NestedString(node.Object, "status", "allocatable", testResource); quantity != "0" && quantity != "" {
			return fmt.Errorf("node %s still has %s", node.GetName(), quantity)
		}
	}
	if !c.plugin.exists {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "daemonsets"}, name)
	}
	c.plugin.deleted = time.Now()
	return nil
}

func (c fakePlugins) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	if err := c.fail(); err != nil {
		return nil, err
	}
	if !c.plugin.exists || c.plugin.ends >= 0 && time.Since(c.plugin.deleted) >= c.plugin.ends {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "daemonsets"}, name)
	}
	return new(unstructured.Unstructured), nil
}

func (c *fakeCluster) Delete(_ context.Context, name string, _ metav1.DeleteOptions, _ ...string) error {
	if err := c.fail(); err != nil {
		return err
	}
	if name != "sgx-node-resource" {
		return fmt.Errorf("unexpected binding %s", name)
	}
	if c.revoked {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "clusterrolebindings"}, name)
	}
	c.revoked = true
	return nil
}

func (c *fakeCluster) List(_ context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	if err := c.fail(); err != nil {
		return nil, err
	}
	var i int
	if _, err := fmt.Sscan("0"+options.Continue, &i); err != nil {
		return nil, err
	}
	list := new(unstructured.UnstructuredList)
	if i < len(c.nodes) {
		list.Items = append(list.Items, *c.nodes[i])
	}
	if i+1 < len(c.nodes) {
		list.SetContinue(fmt.Sprint(i + 1))
	}
	return list, nil
}

func (c *fakeCluster) Patch(_ context.Context, name string, kind types.PatchType, patch []byte, _ metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	if err := c.fail(); err != nil {
		return nil, err
	}
	c.patches = append(c.patches, fmt.Sprintf("%s/%s %s %s", name, strings.Join(subresources, "/"), kind, patch))
	if name == c.gone {
		c.nodes = c.nodes[:len(c.nodes)-1]
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, name)
	}
	for _, node := range c.nodes {
		if node.GetName() == name && strings.Contains(string(patch), `"allocatable":{"example.com/epc":"0"}`) {
			if err := unstructured.SetNestedField(node.Object, "0", "status", "allocatable", testResource); err != nil {
				return nil, err
			}
			if findCondition(node, quotesCondition).status != "" {
				withQuotes(node)
			} else {
				withCondition(node)
			}
		} else if node.GetName() == name && !c.writes {
			for _, field := range []string{"capacity", "allocatable"} {
				unstructured.RemoveNestedField(node.Object, "status", field, testResource)
			}
			unstructured.RemoveNestedField(node.Object, "status", "conditions")
		}
	}
	return nil, nil
}

// nodeWith returns a node whose number the manager has written.
func nodeWith(name, manager string, resources ...string) *unstructured.Unstructured {
	numbers, allocatable, fields := make(map[string]any), make(map[string]any), make(map[string]any)
	for _, resource := range resources {
		numbers[resource], allocatable[resource] = "64", "64"
		fields["f:"+resource] = map[string]any{}
	}
	node := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"status": map[string]any{"capacity": numbers, "allocatable": allocatable},
	}}
	node.SetName(name)
	owned, err := (&unstructured.Unstructured{Object: map[string]any{
		"kind": "Fields", "f:status": map[string]any{"f:capacity": fields, "f:allocatable": fields},
	}}).MarshalJSON()
	if err != nil {
		panic(err)
	}
	node.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "kubelet"}, {Manager: manager, Subresource: "status", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(owned))},
	})
	return node
}

// withCondition adds the condition of a node to one.
func withCondition(node *unstructured.Unstructured) *unstructured.Unstructured {
	node.Object["status"].(map[string]any)["conditions"] = []any{
		map[string]any{"type": "Ready", "status": "True"}, map[string]any{"type": epcCondition, "status": "True"},
	}
	return node
}

// withQuotes adds both conditions of a node to one.
func withQuotes(node *unstructured.Unstructured) *unstructured.Unstructured {
	status := withCondition(node).Object["status"].(map[string]any)
	status["conditions"] = append(status["conditions"].([]any), map[string]any{"type": quotesCondition, "status": "True"})
	return node
}

func TestRemove(t *testing.T) {
	const (
		kind       = `/status application/strategic-merge-patch+json `
		condition  = kind + `{"status":{"conditions":[{"$patch":"delete","type":"SGXEPCAvailable"}]}}`
		conditions = kind + `{"status":{"conditions":[{"$patch":"delete","type":"SGXEPCAvailable"},{"$patch":"delete","type":"SGXQuotesAvailable"}]}}`
		both       = kind + `{"status":{"allocatable":{"example.com/epc":null},"capacity":{"example.com/epc":null},"conditions":[{"$patch":"delete","type":"SGXEPCAvailable"}]}}`
	)
	closed := func(node string) string {
		return node + kind + `{"status":{"allocatable":{"example.com/epc":"0"},"conditions":[{"lastHeartbeatTime":"2000-01-01T00:00:00Z","lastTransitionTime":"2000-01-01T00:00:00Z","message":"confcom is being uninstalled: new pods with EPC wait","reason":"KubeletReleasesDevices","status":"False","type":"SGXEPCAvailable"}]}}`
	}
	const quickest = closingTime + revokeTime
	running := pluginState{exists: true, ends: 3 * time.Second}
	for _, tt := range []struct {
		name    string
		cluster fakeCluster
		patches []string
		took    time.Duration
		err     string
	}{
		{"no nodes", fakeCluster{}, nil, quickest, ""},
		{"a node in mode node", fakeCluster{plugin: running, nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, []string{closed("a"), "a" + both}, quickest + 4*time.Second, ""},
		{"again", fakeCluster{revoked: true, nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, []string{closed("a"), "a" + both}, quickest + time.Second, ""},
		{"written by hand", fakeCluster{nodes: []*unstructured.Unstructured{nodeWith("a", "kubectl-patch", testResource)}}, []string{closed("a"), "a" + both}, quickest + time.Second, ""},
		{"a node in mode devices", fakeCluster{plugin: running, nodes: []*unstructured.Unstructured{withCondition(nodeWith("a", "kubelet", testResource))}}, []string{closed("a"), "a" + condition}, quickest + 4*time.Second, ""},
		{"the condition of quotes", fakeCluster{nodes: []*unstructured.Unstructured{withQuotes(nodeWith("a", "kubelet", testResource))}}, []string{closed("a"), "a" + conditions}, quickest + time.Second, ""},
		{"a device plugin that does not end", fakeCluster{plugin: pluginState{exists: true, ends: -1}, nodes: []*unstructured.Unstructured{withCondition(nodeWith("a", "kubelet", testResource))}}, []string{closed("a"), "a" + condition}, quickest + endTimeout + 2*time.Second, ""},
		{"another resource", fakeCluster{nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", "example.com/other")}}, nil, quickest, ""},
		{"several pages", fakeCluster{nodes: []*unstructured.Unstructured{
			nodeWith("a", "sgx-node-resource", testResource), nodeWith("b", "kubelet", testResource), nodeWith("c", "sgx-node-resource", testResource),
		}}, []string{closed("a"), closed("b"), closed("c"), "a" + both, "b" + condition, "c" + both}, quickest + time.Second, ""},
		{"a node goes meanwhile", fakeCluster{gone: "b", nodes: []*unstructured.Unstructured{
			nodeWith("a", "sgx-node-resource", testResource), nodeWith("b", "sgx-node-resource", testResource),
		}}, []string{closed("a"), closed("b"), "a" + both}, quickest + time.Second, ""},
		{"an API server that is away for a while", fakeCluster{denied: 25, nodes: []*unstructured.Unstructured{withCondition(nodeWith("a", "kubelet", testResource))}}, nil, quickest + 26*time.Second, ""},
		{"no permission", fakeCluster{denied: 1000}, nil, removeTimeout, "remove example.com/epc from the status of nodes: delete the ClusterRoleBinding sgx-node-resource: not now"},
		{"something writes it again", fakeCluster{writes: true, nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, nil, removeTimeout, "1 nodes still have it: something writes it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				r := &removal{resource: testResource, nodes: &tt.cluster, bindings: &tt.cluster, plugins: fakePlugins{&tt.cluster}, log: slog.New(slog.NewTextHandler(&log, nil))}
				ctx, cancel := context.WithTimeout(t.Context(), removeTimeout)
				defer cancel()
				began := time.Now()
				err := r.run(ctx)
				if took := time.Since(began); took != tt.took || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v after %s, want %q after %s", err, took, tt.err, tt.took)
				}
				if tt.err != "" {
					return
				}
				if !tt.cluster.revoked {
					t.Error("the writers may still write")
				}
				if tt.patches != nil && fmt.Sprint(tt.cluster.patches) != fmt.Sprint(tt.patches) {
					t.Errorf("patches %q, want %q", tt.cluster.patches, tt.patches)
				}
				if !strings.Contains(log.String(), "removed from the status of nodes") {
					t.Errorf("log: %s", &log)
				}
			})
		})
	}
}

// A node is kept free of new pods once its number is 0 and its condition says why, or it has
// none.
func TestClosingPatch(t *testing.T) {
	for _, test := range []struct {
		number, reason string
		want           bool
	}{
		{"", "Devices", false},
		{"64", "", true},
		{"64", "Devices", true},
		{"64", reasonReleasing, true},
		{"0", "Devices", true}, // the kubelet would restore the number
		{"0", reasonReleasing, false},
		{"0", "", false},
	} {
		status := make(map[string]any)
		if test.number != "" {
			status["allocatable"] = map[string]any{testResource: test.number}
		}
		if test.reason != "" {
			status["conditions"] = []any{map[string]any{"type": epcCondition, "status": "True", "reason": test.reason}}
		}
		r := &removal{resource: testResource}
		patch, err := r.closingPatch(&unstructured.Unstructured{Object: map[string]any{"status": status}})
		if (patch != nil) != test.want || err != nil {
			t.Errorf("%+v: patch %s, error %v", test, patch, err)
		}
	}
}
