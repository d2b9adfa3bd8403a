package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
)

const (
	// writeInterval is the time between two writes. It is that of the kubelet's
	// lease, which costs the API server more: a write that changes nothing does not
	// reach its store.
	writeInterval = 10 * time.Second
	// minRetry and maxRetry bound the time after a write that failed.
	minRetry = time.Second
	maxRetry = time.Minute
	// writeTimeout bounds one write.
	writeTimeout = 10 * time.Second
)

// nodes patches nodes.
type nodes interface {
	Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// statusWriter keeps the status of a node up to date.
type statusWriter struct {
	node, resource string
	nodes          nodes
	guard          *guard // nil for none
	log            *slog.Logger
	written        *daemon.Condition
	metrics        *Metrics
}

// run writes each capacity when it is received, and repeats the last one at an
// interval, until ctx is done. It does not write while it is unguarded.
func (s *statusWriter) run(ctx context.Context, capacities <-chan epc.Capacity) {
	var capacity epc.Capacity
	pending := false // whether the capacity is to be written
	var logged string
	retry := backoff.ExponentialBackOff{InitialInterval: minRetry, Multiplier: 2, MaxInterval: maxRetry}
	next := time.NewTimer(0)
	defer next.Stop()
	<-next.C // the first write waits for the first capacity
	for {
		select {
		case <-ctx.Done():
			return
		case capacity = <-capacities:
			s.log.Info("capacity changed", "mode", capacity.Mode, "MiB", capacity.MiB, "reservedMiB", capacity.ReservedMiB)
			pending = true
			retry.Reset()
		case <-next.C:
		}
		err := s.guard.check(ctx)
		unguarded := errors.Is(err, errUnguarded)
		if err == nil || unguarded {
			s.metrics.observe(unguarded)
		}
		if err == nil && (pending || capacity.Mode == epc.Node) { // in other modes one write is enough
			err = s.write(ctx, capacity)
			pending = err != nil
		}
		if ctx.Err() != nil {
			return
		}
		s.written.Set(err)
		pause := checkInterval
		if capacity.Mode == epc.Node {
			pause = writeInterval
		}
		if err != nil {
			s.metrics.failures.Inc()
			switch { // the same error several times in a row is worth one line
			case err.Error() == logged:
			case unguarded:
				s.log.Error("not restricted by an admission policy, writing nothing", "error", err)
			default:
				s.log.Warn("write node status failed, retrying", "error", err)
			}
			logged = err.Error()
			pause = retry.NextBackOff()
		} else {
			if logged != "" {
				s.log.Info("write node status succeeded again")
			}
			logged = ""
			retry.Reset()
		}
		next.Stop()
		// The jitter spreads the writes of a cluster's nodes.
		next.Reset(pause + rand.N(pause/10))
	}
}

// write writes a capacity into the status of the node. In mode devices it writes
// nothing: the kubelet writes the number.
func (s *statusWriter) write(ctx context.Context, capacity epc.Capacity) error {
	switch capacity.Mode {
	case epc.Devices:
		return nil
	case epc.Node:
		quantity := map[string]string{s.resource: strconv.FormatInt(capacity.MiB, 10)}
		return s.patch(ctx, types.MergePatchType, map[string]any{
			"status": map[string]any{"capacity": quantity, "allocatable": quantity},
		})
	}
	// Replace what an earlier run has written. On a node that has never had the
	// resource this is invalid, as there is nothing to replace.
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(s.resource)
	var patch []map[string]string
	for _, list := range []string{"capacity", "allocatable"} {
		patch = append(patch, map[string]string{"op": "replace", "path": "/status/" + list + "/" + escaped, "value": "0"})
	}
	err := s.patch(ctx, types.JSONPatchType, patch)
	if apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// patch patches the status of the node.
func (s *statusWriter) patch(ctx context.Context, kind types.PatchType, patch any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err = s.nodes.Patch(ctx, s.node, kind, body, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		s.metrics.writes.Inc()
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("patch node status: %w: the service account needs permission to patch nodes/status, and may patch only the node that it runs on", err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("patch node status: %w: check the name of this node", err)
	}
	return fmt.Errorf("patch node status: %w", err)
}
