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
}

func (c *fakeCluster) fail() error {
	if c.denied == 0 {
		return nil
	}
	c.denied--
	return errors.New("not now")
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
		if node.GetName() == name && !c.writes {
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
	numbers, fields := make(map[string]any), make(map[string]any)
	for _, resource := range resources {
		numbers[resource] = "64"
		fields["f:"+resource] = map[string]any{}
	}
	node := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"status": map[string]any{"capacity": numbers, "allocatable": numbers},
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
		map[string]any{"type": "Ready", "status": "True"}, map[string]any{"type": conditionType, "status": "True"},
	}
	return node
}

func TestRemove(t *testing.T) {
	const (
		kind      = `/status application/strategic-merge-patch+json `
		number    = kind + `{"status":{"allocatable":{"example.com/epc":null},"capacity":{"example.com/epc":null}}}`
		condition = kind + `{"status":{"conditions":[{"$patch":"delete","type":"SGXEPCAvailable"}]}}`
		both      = kind + `{"status":{"allocatable":{"example.com/epc":null},"capacity":{"example.com/epc":null},"conditions":[{"$patch":"delete","type":"SGXEPCAvailable"}]}}`
	)
	for _, tt := range []struct {
		name    string
		cluster fakeCluster
		patches []string
		took    time.Duration
		err     string
	}{
		{"no nodes", fakeCluster{}, nil, 2 * time.Second, ""},
		{"a node in mode node", fakeCluster{nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, []string{"a" + number}, 4 * time.Second, ""},
		{"the binding has gone", fakeCluster{revoked: true, nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, []string{"a" + number}, 4 * time.Second, ""},
		{"written by hand", fakeCluster{nodes: []*unstructured.Unstructured{nodeWith("a", "kubectl-patch", testResource)}}, []string{"a" + number}, 4 * time.Second, ""},
		{"the kubelet's number", fakeCluster{nodes: []*unstructured.Unstructured{nodeWith("a", "kubelet", testResource)}}, nil, 2 * time.Second, ""},
		{"the condition of a node in mode node", fakeCluster{nodes: []*unstructured.Unstructured{withCondition(nodeWith("a", "sgx-node-resource", testResource))}}, []string{"a" + both}, 4 * time.Second, ""},
		{"that of a node in mode devices", fakeCluster{nodes: []*unstructured.Unstructured{withCondition(nodeWith("a", "kubelet", testResource))}}, []string{"a" + condition}, 4 * time.Second, ""},
		{"another resource", fakeCluster{nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", "example.com/other")}}, nil, 2 * time.Second, ""},
		{"several pages", fakeCluster{nodes: []*unstructured.Unstructured{
			nodeWith("a", "sgx-node-resource", testResource), nodeWith("b", "kubelet", testResource), nodeWith("c", "sgx-node-resource", testResource),
		}}, []string{"a" + number, "c" + number}, 4 * time.Second, ""},
		{"a node goes meanwhile", fakeCluster{gone: "b", nodes: []*unstructured.Unstructured{
			nodeWith("a", "sgx-node-resource", testResource), nodeWith("b", "sgx-node-resource", testResource),
		}}, []string{"a" + number, "b" + number}, 4 * time.Second, ""},
		{"an API server that is away for a while", fakeCluster{denied: 5, nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, []string{"a" + number}, 14 * time.Second, ""},
		{"no permission", fakeCluster{denied: 1000}, nil, 40 * time.Second, "remove example.com/epc from the status of nodes: delete the ClusterRoleBinding sgx-node-resource: not now"},
		{"something writes it again", fakeCluster{writes: true, nodes: []*unstructured.Unstructured{nodeWith("a", "sgx-node-resource", testResource)}}, nil, 40 * time.Second, "1 nodes still have it: something writes it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				r := &removal{resource: testResource, nodes: &tt.cluster, bindings: &tt.cluster, log: slog.New(slog.NewTextHandler(&log, nil))}
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
				if fmt.Sprint(tt.cluster.patches) != fmt.Sprint(tt.patches) {
					t.Errorf("patches %q, want %q", tt.cluster.patches, tt.patches)
				}
				if !strings.Contains(log.String(), "removed from the status of nodes") {
					t.Errorf("log: %s", &log)
				}
			})
		})
	}
}
