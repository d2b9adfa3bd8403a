// Package nodelabel labels nodes with SGX, for clusters in which nothing else does: neither
// Node Feature Discovery nor a cloud. The label says that the processor reports EPC, which
// is what the other daemons need to be worth running; what else is missing, such as a
// driver, is for them to report. An annotation has the reason, with and without the label.
//
// A Labeller reads nothing of the cluster, and may write this label and this annotation of
// its own node and nothing else. Before it writes, it checks that an admission policy allows
// it no other write, and writes nothing if there is no such policy.
package nodelabel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/nodeguard"
)

const (
	// Label is the label of nodes with SGX. Its value is "true"; other nodes lack it.
	Label = "confcom.github.io/sgx"
	// ReasonAnnotation is the annotation of all nodes that says why they have it or lack it.
	ReasonAnnotation = "confcom.github.io/sgx-reason"

	// forbiddenLabel is a label that a Labeller may not write.
	forbiddenLabel = "confcom.github.io/forbidden"
	// component is the name of the daemon, and of its policy and roles.
	component = "sgx-node-labeller"
)

const (
	// pollInterval is the time between two discoveries of the machine and, on a node with
	// SGX, between two writes that change nothing: if somebody removes the label, or deletes
	// the node so that its kubelet creates it again, Kubernetes ends the other daemons there.
	// It is that of the kubelet's lease, which costs the API server more: such a write does
	// not reach its store.
	pollInterval = 10 * time.Second
	// idleInterval is the time between two writes that change nothing on a node without SGX.
	// Nothing depends on them.
	idleInterval = 5 * time.Minute
	// minRetry and maxRetry bound the time after a write that failed.
	minRetry = time.Second
	maxRetry = time.Minute
	// writeTimeout bounds one write.
	writeTimeout = 10 * time.Second
)

// Labeller labels a node. It must not change while it runs.
type Labeller struct {
	// Machine is the machine of the node.
	Machine node.Machine
	// Node is the name of the node.
	Node string
	// Kubeconfig is the file that describes how to connect to the API server; empty for
	// the service account of the pod.
	Kubeconfig string
}

// Run keeps the label up to date until ctx is done, and then returns nil. It retries while
// the API server is unavailable. It returns an error if the node has no name or the API
// server is unknown: rest.ErrNotInCluster if there is neither a kubeconfig nor a pod.
func (l *Labeller) Run(ctx context.Context, env *daemon.Environment) error {
	if l.Node == "" {
		return errors.New("the node has no name")
	}
	client, err := nodeguard.Connect(l.Kubeconfig, env.Log)
	if err != nil {
		return err
	}
	w := &labelWriter{
		node:     l.Node,
		discover: l.Machine.Discover,
		nodes:    nodeguard.Nodes(client),
		log:      env.Log.With("node", l.Node),
		known:    env.Health.Condition("machine"),
		written:  env.Health.Condition("node label"),
		metrics:  NewMetrics(env.Metrics),
	}
	if l.Kubeconfig == "" { // other credentials are not those that the policy restricts
		w.guard = w.newGuard()
	}
	w.run(ctx)
	return nil
}

// nodes patches nodes.
type nodes interface {
	Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// finding is what a node is labelled with.
type finding struct {
	sgx    bool
	reason string
}

// find returns what to label a machine with. Devices do not matter: the pod does not see
// those of the node.
func find(inv node.Inventory) finding {
	switch {
	case inv.Simulated:
		return finding{true, fmt.Sprintf("%s of EPC is simulated", inv.EPC())}
	case inv.EPC() > 0:
		return finding{true, fmt.Sprintf("the processor has %s of EPC", inv.EPC())}
	}
	v := inv.Verdict()
	return finding{false, v.Problem + ": " + v.Advice}
}

// patch returns the merge patch of the node that writes the finding.
func (f finding) patch() map[string]any {
	label := any(nil) // which removes it
	if f.sgx {
		label = "true"
	}
	return metadata(map[string]any{Label: label}, map[string]any{ReasonAnnotation: f.reason})
}

// metadata returns a merge patch of labels and annotations.
func metadata(labels, annotations map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{"labels": labels, "annotations": annotations}}
}

// labelWriter keeps the label of a node up to date.
type labelWriter struct {
	node           string
	discover       func() (node.Inventory, error)
	nodes          nodes
	guard          *nodeguard.Guard // nil for none
	log            *slog.Logger
	known, written *daemon.Condition
	metrics        *Metrics

	logged string // the last failure
}

// run discovers the machine and writes, at an interval, until ctx is done. A discovery that
// fails changes nothing.
func (w *labelWriter) run(ctx context.Context) {
	retry := backoff.ExponentialBackOff{InitialInterval: minRetry, Multiplier: 2, MaxInterval: maxRetry}
	var last finding // zero before the first write
	var next time.Time
	for {
		pause := jitter(pollInterval)
		inv, err := w.discover()
		w.known.Set(err)
		if err != nil {
			w.logFailure("discover SGX failed, retrying", err)
		} else if now, f := time.Now(), find(inv); f != last || !now.Before(next) {
			err := w.write(ctx, f)
			if ctx.Err() != nil {
				return
			}
			w.written.Set(err)
			if err != nil {
				w.metrics.failures.Inc()
				w.logFailure("label node failed, retrying", err)
				pause = jitter(retry.NextBackOff())
			} else {
				if f != last || w.logged != "" {
					w.log.Info("labelled node", "sgx", f.sgx, "reason", f.reason)
				}
				w.logged, last, next = "", f, now
				if !f.sgx {
					next = now.Add(jitter(idleInterval))
				}
				retry.Reset()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// logFailure logs a failure, unless it is the same as the last one.
func (w *labelWriter) logFailure(message string, err error) {
	if err.Error() != w.logged {
		w.log.Warn(message, "error", err)
	}
	w.logged = err.Error()
}

// jitter spreads the writes of a cluster's nodes.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10) }

// write writes the finding, unless nothing stops this daemon from writing more.
func (w *labelWriter) write(ctx context.Context, f finding) error {
	err := w.guard.Check(ctx)
	w.metrics.observe(errors.Is(err, nodeguard.ErrUnguarded))
	if err != nil {
		return err
	}
	if err := w.patch(ctx, f.patch(), metav1.PatchOptions{}); err != nil {
		switch {
		case apierrors.IsForbidden(err):
			return fmt.Errorf("patch node: %w: the service account needs permission to patch nodes, and may patch only the node that it runs on", err)
		case apierrors.IsNotFound(err):
			return fmt.Errorf("patch node: %w: check the name of this node", err)
		}
		return fmt.Errorf("patch node: %w", err)
	}
	w.metrics.writes.Inc()
	return nil
}

// newGuard returns what checks that an admission policy restricts this daemon.
func (w *labelWriter) newGuard() *nodeguard.Guard {
	return &nodeguard.Guard{Daemon: component, Forbidden: "the label " + forbiddenLabel, Patch: func(ctx context.Context, options metav1.PatchOptions) error {
		return w.patch(ctx, map[string]any{"metadata": map[string]any{"labels": map[string]any{forbiddenLabel: "true"}}}, options)
	}}
}

// patch patches the node.
func (w *labelWriter) patch(ctx context.Context, patch any, options metav1.PatchOptions) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err = w.nodes.Patch(ctx, w.node, types.MergePatchType, body, options)
	return err
}
