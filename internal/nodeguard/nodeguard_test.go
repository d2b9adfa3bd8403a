package nodeguard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func forbidden(by string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "node-1", errors.New(by))
}

func TestCheck(t *testing.T) {
	const policy = "ValidatingAdmissionPolicy 'a-daemon' with binding 'a-daemon' denied request"
	for _, c := range []struct {
		name   string
		answer error
		want   string // in the error; empty for none
		again  bool   // whether the next check asks again
	}{
		{"the policy refuses", forbidden(policy), "", false},
		{"nothing refuses", nil, "restore the ValidatingAdmissionPolicy a-daemon and its binding", true},
		{"RBAC refuses", forbidden("no role"), "forbidden, but not by the policy", true},
		{"the policy of another daemon refuses", forbidden("ValidatingAdmissionPolicy 'a-daemon-2' denied request"), "forbidden, but not by the policy", true},
		{"no answer that shows it, whatever it says", errors.New(policy), "check admission policy", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				g := &Guard{Daemon: "a-daemon", Forbidden: "a label", Patch: func(_ context.Context, options metav1.PatchOptions) error {
					calls++
					if !slices.Equal(options.DryRun, []string{metav1.DryRunAll}) {
						t.Error("the patch is no dry run")
					}
					return c.answer
				}}
				err := g.Check(t.Context())
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want an error about %q", err, c.want)
				}
				if errors.Is(err, ErrUnguarded) != (c.answer == nil) {
					t.Errorf("%v is ErrUnguarded: %t", err, errors.Is(err, ErrUnguarded))
				}
				g.Check(t.Context())
				if (calls == 2) != c.again {
					t.Errorf("asked %d times", calls)
				}
				time.Sleep(CheckInterval)
				before := calls
				if g.Check(t.Context()); calls != before+1 {
					t.Error("not asked again after a while")
				}
			})
		})
	}
	if err := (*Guard)(nil).Check(t.Context()); err != nil {
		t.Errorf("without a guard: %v", err)
	}
}

// pages lists nodes, two at a time.
type pages []string

func (p pages) List(_ context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	start := slices.Index(p, options.Continue)
	if options.Continue == "" {
		start = 0
	}
	list := new(unstructured.UnstructuredList)
	for _, name := range p[start:min(start+2, len(p))] {
		node := unstructured.Unstructured{}
		node.SetName(name)
		list.Items = append(list.Items, node)
	}
	if start+2 < len(p) {
		list.SetContinue(p[start+2])
	}
	return list, nil
}

// TestPatchAll checks that one node that cannot be patched keeps no other from it.
func TestPatchAll(t *testing.T) {
	patched, err := PatchAll(t.Context(), pages{"done", "broken", "gone", "also-broken", "last"}, func(node *unstructured.Unstructured) (bool, error) {
		switch name := node.GetName(); name {
		case "done":
			return false, nil
		case "gone":
			return true, apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, name)
		case "last":
			return true, nil
		default:
			return true, errors.New("no route to host")
		}
	})
	if want := []string{"broken", "gone", "also-broken", "last"}; !slices.Equal(patched, want) {
		t.Errorf("patched %v, want %v", patched, want)
	}
	if err == nil || err.Error() != "patch node broken: no route to host" {
		t.Errorf("got %v", err)
	}
}
