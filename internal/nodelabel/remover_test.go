package nodelabel

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// fakeCluster is the part of an API server that a removal uses, with one node per page.
type fakeCluster struct {
	nodes   []*unstructured.Unstructured
	writes  bool // whether a labeller still writes
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
	if name != "sgx-node-labeller" {
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
	if !c.revoked {
		return nil, errors.New("the labellers may still write")
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
	c.patches = append(c.patches, fmt.Sprintf("%s%s %s %s", name, strings.Join(subresources, "/"), kind, patch))
	if name == c.gone {
		c.nodes = c.nodes[:len(c.nodes)-1]
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, name)
	}
	for _, node := range c.nodes {
		if node.GetName() == name && !c.writes {
			node.SetLabels(nil)
			node.SetAnnotations(nil)
		}
	}
	return nil, nil
}

func labelled(name, label, annotation string) *unstructured.Unstructured {
	n := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Node"}}
	n.SetName(name)
	if label != "" {
		n.SetLabels(map[string]string{label: "true"})
	}
	if annotation != "" {
		n.SetAnnotations(map[string]string{annotation: "because"})
	}
	return n
}

func TestRemove(t *testing.T) {
	const patch = ` application/merge-patch+json {"metadata":{"annotations":{"confcom.github.io/sgx-reason":null},"labels":{"confcom.github.io/sgx":null}}}`
	nodes := func() []*unstructured.Unstructured {
		return []*unstructured.Unstructured{
			labelled("sgx", Label, ReasonAnnotation), labelled("other", "example.com/sgx", "example.com/reason"),
			labelled("none", "", ReasonAnnotation), labelled("by-hand", Label, ""),
		}
	}
	const all = "sgx" + patch + "\nnone" + patch + "\nby-hand" + patch
	for _, c := range []struct {
		name    string
		cluster fakeCluster
		want    string
		err     string
	}{
		{"some nodes", fakeCluster{nodes: nodes()}, all, ""},
		{"no nodes", fakeCluster{}, "", ""},
		{"already revoked", fakeCluster{nodes: nodes(), revoked: true}, all, ""},
		{"failures first", fakeCluster{nodes: nodes(), denied: 3}, all, ""},
		{"a node that goes", fakeCluster{nodes: nodes(), gone: "by-hand"}, all, ""},
		{"only failures", fakeCluster{denied: 1000}, "", "not now"},
		{"something labels again", fakeCluster{nodes: nodes()[:1], writes: true}, "", "1 nodes still have it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), removeTimeout)
				defer cancel()
				start := time.Now()
				err := (&removal{nodes: &c.cluster, bindings: &c.cluster, log: slog.New(slog.NewTextHandler(io.Discard, nil))}).run(ctx)
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) || time.Since(start) != removeTimeout {
						t.Errorf("after %s: %v, want %q", time.Since(start), err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(c.cluster.patches, "\n"); got != c.want {
					t.Errorf("patches:\n%s\nwant:\n%s", got, c.want)
				}
			})
		})
	}
}
