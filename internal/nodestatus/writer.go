// Package nodestatus writes how much EPC a node offers into the status of the
// node, as an extended resource, where a size of any kind costs nothing: for
// nodes with more EPC than the kubelet can hand out as devices.
//
// It writes this one number of its own node and reads nothing, so it needs no
// other right. It writes again and again, as nothing else keeps the number: a
// kubelet without memory of its devices resets the resources of its node.
package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

const (
	// writeInterval is the time between two writes. It is that of the kubelet's
	// lease, which costs the API server more: a write that changes nothing does
	// not reach its store.
	writeInterval = 10 * time.Second
	// minRetry and maxRetry bound the time after a write that failed.
	minRetry = time.Second
	maxRetry = time.Minute
	// writeTimeout bounds one write.
	writeTimeout = 10 * time.Second
)

// Writer writes the EPC of a machine into the status of its node. AddFlags gives
// it its defaults. It is not changed once it runs.
type Writer struct {
	Machine node.Machine
	Policy  epc.Policy
	// Node is the name of the node.
	Node string
	// Kubeconfig says how to reach the API server; empty means as a pod does.
	Kubeconfig string
}

// AddFlags declares the writer's flags.
func (w *Writer) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&w.Node, "node-name", os.Getenv("NODE_NAME"), "the `name` of this node; by default the environment's NODE_NAME")
	flags.StringVar(&w.Kubeconfig, "kubeconfig", "", "the `file` that says how to reach the API server; empty for the way of a pod")
	w.Policy.AddFlags(flags)
	w.Machine.AddFlags(flags)
}

// Run writes until ctx is done, and returns nil then. While the API server is
// away it tries again. It returns an error when it cannot know its node or its
// API server.
func (w *Writer) Run(ctx context.Context, env *daemon.Environment) error {
	if w.Node == "" {
		return errors.New("the name of this node is not known: set NODE_NAME in the environment, as the chart does, or give --node-name")
	}
	klog.SetSlogLogger(env.Log) // what the client has to say
	config, err := w.config()
	if err != nil {
		return fmt.Errorf("find the API server: %w: run this in a pod with a service account, or give --kubeconfig", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	k := &keeper{
		node:     w.Node,
		resource: string(w.Policy.Resource),
		nodes:    client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}),
		log:      env.Log.With("node", w.Node, "resource", w.Policy.Resource),
		written:  env.Health.Condition("node status"),
		metrics:  newMetrics(env.Metrics),
	}
	looking := env.Health.Condition("machine")
	offers := make(chan epc.Capacity)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return k.keep(ctx, offers) })
	group.Go(func() error {
		w.Policy.Watch(ctx, w.Machine, env.Log, looking.Set, func(_ node.Inventory, o epc.Capacity) error {
			select {
			case offers <- o:
			case <-ctx.Done():
			}
			return nil
		})
		return nil
	})
	return group.Wait()
}

// config says how to reach the API server.
func (w *Writer) config() (*rest.Config, error) {
	if w.Kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", w.Kubeconfig)
}

// nodes changes nodes.
type nodes interface {
	Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// keeper keeps the number in the status of the node as it should be.
type keeper struct {
	node, resource string
	nodes          nodes
	log            *slog.Logger
	written        *daemon.Condition
	metrics        metrics
}

type metrics struct{ writes, failures prometheus.Counter }

func newMetrics(registry prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	return metrics{
		writes:   counter("sgx_node_resource_writes_total", "Writes to the status of the node that succeeded."),
		failures: counter("sgx_node_resource_write_failures_total", "Writes to the status of the node that failed."),
	}
}

// keep writes what is offered, whenever it changes and from time to time, until
// ctx is done.
func (k *keeper) keep(ctx context.Context, offers <-chan epc.Capacity) error {
	var wanted epc.Capacity
	var said string
	retry := minRetry
	next := time.NewTimer(0)
	defer next.Stop()
	<-next.C // nothing is to be written before the first offer
	for {
		select {
		case <-ctx.Done():
			return nil
		case wanted = <-offers:
			k.log.Info("offered", "mode", wanted.Mode, "MiB", wanted.MiB, "reservedMiB", wanted.ReservedMiB)
			retry = minRetry
		case <-next.C:
		}
		err := k.write(ctx, wanted)
		if ctx.Err() != nil {
			return nil
		}
		k.written.Set(err)
		var pause time.Duration
		switch {
		case err != nil:
			k.metrics.failures.Inc()
			if err.Error() != said { // one line, however often it is met in a row
				k.log.Warn("cannot write the status of the node: it is tried again", "error", err)
			}
			said = err.Error()
			pause = retry
			retry = min(2*retry, maxRetry)
		case wanted.Mode == epc.Node:
			if said != "" {
				k.log.Info("the status of the node is written again")
			}
			said, retry, pause = "", minRetry, writeInterval
		default: // there is nothing to be kept
			said, retry, pause = "", minRetry, -1
		}
		next.Stop()
		if pause > 0 {
			// Not all nodes of a cluster at the same moment.
			next.Reset(pause + rand.N(pause/10))
		}
	}
}

// write makes the status of the node say what is offered. Where EPC is offered
// as devices the number is the kubelet's.
func (k *keeper) write(ctx context.Context, wanted epc.Capacity) error {
	switch wanted.Mode {
	case epc.Devices:
		return nil
	case epc.Node:
		quantity := map[string]string{k.resource: strconv.FormatInt(wanted.MiB, 10)}
		return k.patch(ctx, types.MergePatchType, map[string]any{
			"status": map[string]any{"capacity": quantity, "allocatable": quantity},
		})
	}
	// What an earlier run has left must not be promised any more. On a node that
	// never had the resource there is nothing to replace, which is as well.
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(k.resource)
	var patch []map[string]string
	for _, list := range []string{"capacity", "allocatable"} {
		patch = append(patch, map[string]string{"op": "replace", "path": "/status/" + list + "/" + escaped, "value": "0"})
	}
	err := k.patch(ctx, types.JSONPatchType, patch)
	if apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// patch changes the status of the node.
func (k *keeper) patch(ctx context.Context, kind types.PatchType, patch any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err = k.nodes.Patch(ctx, k.node, kind, body, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		k.metrics.writes.Inc()
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the API server refuses: %w: this service account needs the right to patch nodes/status, and may write only to the node it runs on", err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no node of this name: %w: check --node-name", err)
	}
	return err
}
