package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/nodeguard"
)

// maxEvents is how many events about the node are created at once at most. After that it is
// one per eventInterval: a node whose state goes back and forth must not fill the API
// server's store. The kubelet limits its own events by the same numbers.
const (
	maxEvents     = 25
	eventInterval = 5 * time.Minute
)

// newEventLimit returns the limit of the events about a node.
func newEventLimit() *rate.Limiter { return rate.NewLimiter(rate.Every(eventInterval), maxEvents) }

// nodes patches nodes.
type nodes interface {
	Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// nodeClient writes the status of a node and events about it, unless it is unguarded. It is
// not for several goroutines.
type nodeClient struct {
	node    string
	nodes   nodes
	events  creator
	limit   *rate.Limiter    // of events
	guard   *nodeguard.Guard // nil for none
	log     *slog.Logger
	metrics *Metrics
}

// checkGuard returns an error if nothing is to be written, as its guard does.
func (n *nodeClient) checkGuard(ctx context.Context) error {
	err := n.guard.Check(ctx)
	if unguarded := errors.Is(err, nodeguard.ErrUnguarded); err == nil || unguarded {
		n.metrics.observe(unguarded)
	}
	return err
}

// createEvent creates an event about the node. An event that cannot be created, or is beyond
// the limit, is lost: the condition and the log say the same.
func (n *nodeClient) createEvent(ctx context.Context, c condition, now time.Time) {
	n.log.Info("condition changed", "available", c.available, "reason", c.reason, "message", c.message)
	if !n.limit.AllowN(now, 1) {
		n.log.Warn("no event, there were too many", "reason", c.reason)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	event, err := c.event(n.node, now)
	if err == nil {
		_, err = n.events.Create(ctx, event, metav1.CreateOptions{})
	}
	if err != nil {
		n.log.Warn("create event failed", "reason", c.reason, "error", err)
	}
}

// patch patches the status of the node, and returns the node.
func (n *nodeClient) patch(ctx context.Context, kind types.PatchType, patch any) (*unstructured.Unstructured, error) {
	node, err := n.request(ctx, kind, patch)
	if err == nil {
		n.metrics.writes.Inc()
	}
	return node, err
}

// request requests a patch of the status of the node, which may be empty.
func (n *nodeClient) request(ctx context.Context, kind types.PatchType, patch any) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	node, err := n.nodes.Patch(ctx, n.node, kind, body, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		return node, nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("patch node status: %w: the service account needs permission to patch nodes/status, and may patch only the node that it runs on", err)
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("patch node status: %w: check the name of this node", err)
	}
	return nil, fmt.Errorf("patch node status: %w", err)
}

// conditionWriter keeps a condition of the node up to date.
type conditionWriter struct {
	reads   time.Time // when the node's was read
	last    condition
	written time.Time
}

// write writes the condition if it has changed, is another one in the cluster, or has not
// been written for a while, and creates an event if its reason has changed.
func (w *conditionWriter) write(ctx context.Context, n *nodeClient, c condition, now time.Time) error {
	unchanged := c == w.last && now.Sub(w.written) < heartbeatInterval
	if unchanged && now.Sub(w.reads) < writeInterval {
		return nil
	}
	// Somebody else may have written it, such as an uninstallation that has failed. An empty
	// patch returns the node, without the permission to read nodes.
	node, err := n.request(ctx, types.MergePatchType, struct{}{})
	if err != nil {
		return err
	}
	before := findCondition(node, c.kind)
	w.reads = now
	if unchanged && before.status == c.status() && before.reason == c.reason {
		return nil
	}
	transition := before.transition
	if c.status() != before.status || transition.IsZero() {
		transition = now
	}
	if _, err := n.patch(ctx, types.StrategicMergePatchType, c.patch(transition, now)); err != nil {
		return err
	}
	if c.reason != before.reason {
		reported := c
		// A node that never had EPC is as it should be, and one that has lost it is not.
		if c.reason == reasonNoEPC && before.status == string(corev1.ConditionTrue) {
			reported.warning = true
		}
		n.createEvent(ctx, reported, now)
	}
	w.last, w.written = c, now
	return nil
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
		ObjectMeta: metav1.ObjectMeta{Name: node + ".sgx." + strconv.FormatInt(now.UnixNano(), 16), Namespace: metav1.NamespaceDefault},
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
