package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/confcom/confcom/aesm"
	simulatedenclave "github.com/confcom/confcom/internal/cli/enclave"
	"github.com/confcom/confcom/internal/loadgen"
)

// observer watches all pods of the cluster, so that it sees those as well that fail and
// are replaced at once. It goes on when the API server comes back.
type observer struct {
	client dynamic.NamespaceableResourceInterface

	former map[types.UID]bool // pods that had failed before

	mu      sync.Mutex
	pods    map[types.UID]*corev1.Pod // those that exist
	failed  map[types.UID]string      // those that have failed, and why
	changed chan struct{}             // closed at the next event
}

// observe starts an observer, which ends with the test.
func observe(t *testing.T) *observer {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{
		client:  client.Resource(corev1.SchemeGroupVersion.WithResource("pods")),
		former:  make(map[types.UID]bool),
		pods:    make(map[types.UID]*corev1.Pod),
		failed:  make(map[types.UID]string),
		changed: make(chan struct{}),
	}
	failed, err := o.client.List(context.Background(), metav1.ListOptions{FieldSelector: "status.phase=Failed"})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range failed.Items {
		o.former[pod.GetUID()] = true
	}
	background(t, o.watch)
	return o
}

// background runs a function until stop, or the end of the test.
func background(t *testing.T, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// pause waits for a time, or until the context is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (o *observer) watch(ctx context.Context) {
	for ctx.Err() == nil {
		w, err := o.client.Watch(ctx, metav1.ListOptions{})
		if err != nil {
			pause(ctx, 200*time.Millisecond)
			continue
		}
		o.mu.Lock()
		clear(o.pods) // a watch begins with all pods
		o.mu.Unlock()
		for event := range w.ResultChan() {
			o.see(event)
		}
		w.Stop()
	}
}

func (o *observer) see(event apiwatch.Event) {
	object, ok := event.Object.(*unstructured.Unstructured)
	if !ok || object.GetKind() != "Pod" {
		return
	}
	pod := new(corev1.Pod)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, pod); err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if event.Type == apiwatch.Deleted {
		delete(o.pods, pod.UID)
	} else {
		o.pods[pod.UID] = pod
	}
	// A pod that is deleted may fail in its last moments, which costs nobody anything.
	if pod.Status.Phase == corev1.PodFailed && pod.DeletionTimestamp == nil && !o.former[pod.UID] {
		o.failed[pod.UID] = fmt.Sprintf("%s/%s: %s", pod.Namespace, pod.Name, pod.Status.Reason)
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// await waits until is returns true for the pods that exist. It reports false if the
// context is done first.
func (o *observer) await(ctx context.Context, is func(map[types.UID]*corev1.Pod) bool) bool {
	for {
		o.mu.Lock()
		changed, done := o.changed, is(o.pods)
		o.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// failures returns the pods that have failed, with the reasons.
func (o *observer) failures() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, why := range o.failed {
		list = append(list, why)
	}
	return list
}

// middle returns a channel that is closed when a pod of the chart is created, or asked to
// end.
func (o *observer) middle(t *testing.T) <-chan struct{} {
	before := make(map[types.UID]bool)
	o.mu.Lock()
	for uid, p := range o.pods {
		before[uid] = p.DeletionTimestamp != nil
	}
	o.mu.Unlock()
	reached := make(chan struct{})
	background(t, func(ctx context.Context) {
		defer close(reached)
		o.await(ctx, func(pods map[types.UID]*corev1.Pod) bool {
			for uid, p := range pods {
				if ending, known := before[uid]; p.Namespace == namespace && (!known || !ending && p.DeletionTimestamp != nil) {
					return true
				}
			}
			return false
		})
	})
	return reached
}

// probe creates pods with EPC, one after the other, each once the last one runs, and
// measures how long each takes to run.
type probe struct {
	stop func()

	mu      sync.Mutex
	ran     int
	longest time.Duration
}

// startProbe starts a probe, which ends with the test.
func startProbe(t *testing.T, o *observer) *probe {
	t.Helper()
	p := new(probe)
	p.stop = background(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			began := time.Now()
			name, ran := p.run(ctx, o)
			p.mu.Lock()
			p.longest = max(p.longest, time.Since(began))
			if ran {
				p.ran++
			}
			p.mu.Unlock()
			remove(context.WithoutCancel(ctx), o, name)
		}
	})
	return p
}

// run creates pods with EPC until one runs, or the context is done. It returns the name of
// the last one, and whether it ran.
func (p *probe) run(ctx context.Context, o *observer) (name string, ran bool) {
	for n := 0; ctx.Err() == nil && !ran; n++ {
		if n > 0 {
			remove(ctx, o, name)    // it has failed
			pause(ctx, time.Second) // controllers are not quicker
		}
		name = fmt.Sprintf("probe-%d", time.Now().UnixNano())
		for ctx.Err() == nil && withTimeout(ctx, func(ctx context.Context) error { return p.create(ctx, o, name) }) != nil {
			pause(ctx, 200*time.Millisecond)
		}
		o.await(ctx, func(pods map[types.UID]*corev1.Pod) bool {
			for _, pod := range pods {
				if pod.Name == name {
					ran = len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Running != nil
					return ran || pod.Status.Phase == corev1.PodFailed
				}
			}
			return false
		})
	}
	return name, ran
}

func (p *probe) create(ctx context.Context, o *observer, name string) error {
	_, err := o.client.Namespace("default").Create(ctx, &unstructured.Unstructured{Object: object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": name, "namespace": "default"},
		"spec": object{
			"containers": []any{object{
				"name": "main", "image": "confcom.invalid/pause:local", "imagePullPolicy": "Never",
				"resources": object{"limits": object{resource: "1"}},
			}},
			"automountServiceAccountToken": false, "terminationGracePeriodSeconds": int64(1),
		},
	}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // the reply to the first attempt was lost
	}
	return err
}

// remove deletes a pod, even if the API server is away at first, and waits until the
// kubelet has ended it and its EPC is free.
func remove(ctx context.Context, o *observer, name string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	gone := func(pods map[types.UID]*corev1.Pod) bool {
		for _, pod := range pods {
			if pod.Name == name {
				return false
			}
		}
		return true
	}
	for ctx.Err() == nil {
		err := withTimeout(ctx, func(ctx context.Context) error {
			return o.client.Namespace("default").Delete(ctx, name, metav1.DeleteOptions{})
		})
		if err == nil || apierrors.IsNotFound(err) {
			break
		}
		pause(ctx, 200*time.Millisecond)
	}
	o.await(ctx, gone)
}

// withTimeout bounds a request to the API server, which may be away.
func withTimeout(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return do(ctx)
}

// count returns how many pods have run.
func (p *probe) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ran
}

// awaitNext waits until a pod runs that was created after the call.
func (p *probe) awaitNext(t *testing.T, limit time.Duration) {
	t.Helper()
	// The pod that the probe waits for at the moment may be older.
	want := p.count() + 2
	for deadline := time.Now().Add(limit); p.count() < want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s, no new pod with EPC runs", limit)
		}
	}
}

// quoter gets quotes on this machine, the node, without pause but for some milliseconds.
type quoter struct {
	stop func()

	mu      sync.Mutex
	quotes  int
	failed  int
	err     error         // the last one
	last    time.Time     // when the last quote was made
	longest time.Duration // between two quotes
}

// startQuoter starts a quoter, which ends with the test.
func startQuoter(t *testing.T) *quoter {
	t.Helper()
	q := new(quoter)
	client := &aesm.Client{Socket: aesmDir + "/aesm.socket", Timeout: 15 * time.Second}
	q.stop = background(t, func(ctx context.Context) {
		var get func(context.Context) error
		for ; ctx.Err() == nil; pause(ctx, 10*time.Millisecond) {
			var err error
			if get == nil {
				get, err = loadgen.Quotes(ctx, client, simulatedenclave.Enclave{}.Report, 0)
			} else {
				err = get(ctx)
			}
			if ctx.Err() == nil {
				q.count(err)
			}
		}
	})
	return q
}

func (q *quoter) count(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.failed++
		q.err = err
		return
	}
	now := time.Now()
	if q.quotes++; q.quotes > 1 {
		q.longest = max(q.longest, now.Sub(q.last))
	}
	q.last = now
}

// awaitNext waits until a quote was made after the call.
func (q *quoter) awaitNext(t *testing.T, limit time.Duration) {
	t.Helper()
	began := time.Now()
	for {
		q.mu.Lock()
		done, err := q.last.After(began), q.err
		q.mu.Unlock()
		if done {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("after %s, there are no quotes: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
