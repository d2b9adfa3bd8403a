//go:build kubelet

package kubelet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
)

// Where plugins find the kubelet. These are constants of the kubelet.
const (
	dir           = v1beta1.DevicePluginPath
	kubeletSocket = v1beta1.KubeletSocket
)

// patience exceeds the duration of anything that a test waits for.
const patience = 60 * time.Second

// kubelet is the device manager of a kubelet, and the pods of that kubelet.
type kubelet struct {
	t       testing.TB
	manager *devicemanager.ManagerImpl // nil while it is stopped

	mu   sync.Mutex
	pods []*v1.Pod
}

// startKubelet starts the kubelet of a new node. The kubelet is stopped when the test
// ends.
func startKubelet(t testing.TB) *kubelet {
	t.Helper()
	kubeletLog.clear()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	k := &kubelet{t: t}
	k.start()
	t.Cleanup(func() {
		k.stop()
		if t.Failed() {
			t.Logf("log of the kubelet:\n%s", kubeletLog)
		}
	})
	return k
}

// start starts a kubelet, which removes all sockets and creates its own.
func (k *kubelet) start() {
	k.t.Helper()
	manager, err := newManager(k.activePods)
	if err != nil {
		k.t.Fatal(err)
	}
	k.manager = manager
}

// stop stops the kubelet gracefully, which removes its socket.
func (k *kubelet) stop() {
	if k.manager != nil {
		_ = k.manager.Stop(klog.Background()) // always returns nil
		k.manager = nil
	}
}

func (k *kubelet) restart() {
	k.t.Helper()
	k.stop()
	k.start()
}

// newManager starts a device manager as a kubelet does when its other parts are ready.
func newManager(pods devicemanager.ActivePodsFunc) (*devicemanager.ManagerImpl, error) {
	logger := klog.Background()
	manager, err := devicemanager.NewManagerImpl(logger, nil, topologymanager.NewFakeManager(logger))
	if err != nil {
		return nil, fmt.Errorf("create the device manager: %w", err)
	}
	if err := manager.Start(logger, pods, sourcesReady{}, containermap.NewContainerMap(), sets.New[string]()); err != nil {
		return nil, fmt.Errorf("start the device manager: %w", err)
	}
	return manager, nil
}

// sourcesReady reports that all pods are known.
type sourcesReady struct{}

func (sourcesReady) AddSource(string) {}
func (sourcesReady) AllReady() bool   { return true }

func (k *kubelet) activePods() []*v1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.pods)
}

// count is what the kubelet would write into the node's status.
type count struct{ capacity, allocatable int64 }

// all returns the count of n devices that are all allocatable.
func all(n int64) count { return count{n, n} }

// has returns the node's count of a resource.
func (k *kubelet) has(name string) count {
	capacity, allocatable, _ := k.manager.GetCapacity(klog.Background())
	c, a := capacity[v1.ResourceName(name)], allocatable[v1.ResourceName(name)]
	return count{c.Value(), a.Value()}
}

// resources returns the names of the node's resources.
func (k *kubelet) resources() []string {
	capacity, _, _ := k.manager.GetCapacity(klog.Background())
	var names []string
	for _, name := range slices.Sorted(maps.Keys(capacity)) {
		names = append(names, string(name))
	}
	return names
}

// await waits until the node has this much of a resource. It polls, since the device
// manager has no events.
func (k *kubelet) await(name string, want count) {
	k.t.Helper()
	var is count
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if is = k.has(name); is == want {
			return
		}
		time.Sleep(time.Millisecond)
	}
	k.t.Fatalf("%s is %+v after %v, want %+v", name, is, patience, want)
}

// watch collects the distinct counts of a resource until off is called.
func (k *kubelet) watch(name string) (off func() []count) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	seen := sets.New[count]()
	go func() {
		defer close(stopped)
		for {
			seen.Insert(k.has(name))
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	off = sync.OnceValue(func() []count {
		close(stop)
		<-stopped
		return seen.UnsortedList()
	})
	k.t.Cleanup(func() { off() })
	return off
}

// admit creates a pod with one container that requests n of each resource, and returns
// the devices that the kubelet passes to the container runtime.
func (k *kubelet) admit(name string, n int64, resources ...string) (*devicemanager.DeviceRunContainerOptions, error) {
	limits := v1.ResourceList{}
	for _, name := range resources {
		limits[v1.ResourceName(name)] = *resource.NewQuantity(n, resource.DecimalSI)
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)},
		Spec: v1.PodSpec{Containers: []v1.Container{{
			Name:      "container",
			Resources: v1.ResourceRequirements{Limits: limits, Requests: limits},
		}}},
	}
	k.mu.Lock()
	k.pods = append(k.pods, pod)
	k.mu.Unlock()
	container := &pod.Spec.Containers[0]
	if err := k.manager.Allocate(k.t.Context(), pod, container, lifecycle.AddOperation); err != nil {
		return nil, err
	}
	return k.manager.GetDeviceRunContainerOptions(k.t.Context(), pod, container)
}

// forget removes all pods.
func (k *kubelet) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pods = nil
}

// disconnect makes the kubelet close its connection to a plugin, and nothing else.
func (k *kubelet) disconnect(name, socket string) {
	k.manager.GetWatcherHandler().DeRegisterPlugin(context.Background(), name, socket)
}

// socketTime returns when the kubelet's socket was created.
func socketTime(t testing.TB) time.Time {
	t.Helper()
	info, err := os.Lstat(kubeletSocket)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// pluginSockets returns the paths of the sockets of plugins.
func pluginSockets(t testing.TB) []string {
	t.Helper()
	paths, err := findPluginSockets()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func findPluginSockets() (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); entry.Type() == fs.ModeSocket && path != kubeletSocket {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// startKubeletProcess starts a kubelet in its own process and returns a function that
// kills it, which leaves its socket behind.
func startKubeletProcess(t *testing.T) (kill func()) {
	t.Helper()
	process := exec.Command("/proc/self/exe")
	process.Env = append(os.Environ(), kubeletEnv+"=1")
	process.Stderr = t.Output()
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.StdinPipe(); err != nil { // open until it is killed
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = process.Process.Kill()
		_ = process.Wait() // it was killed
	})
	t.Cleanup(kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "serving\n" {
		t.Fatalf("the kubelet wrote %q: %v", line, errors.Join(err, process.Err))
	}
	return kill
}

// kubeletLog is the log of the kubelet since its start. There is one klog in a process.
var kubeletLog = new(journal)

type journal struct {
	mu    sync.Mutex
	lines []string

	at string // the message to intercept
	do func()
}

// maxJournal is the maximum number of lines that are kept, to count registrations and
// to show when a test fails.
const maxJournal = 2000

func (j *journal) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		j.mu.Lock()
		if len(j.lines) == maxJournal {
			j.lines = slices.Delete(j.lines, 0, maxJournal/2)
		}
		j.lines = append(j.lines, prefix+args)
		do := j.do
		if do != nil && strings.Contains(args, `"msg"="`+j.at+`"`) {
			j.do = nil
		} else {
			do = nil
		}
		j.mu.Unlock()
		if do != nil {
			do()
		}
	}, funcr.Options{LogTimestamp: true, TimestampFormat: "15:04:05.000", Verbosity: 2})
}

func (j *journal) clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines, j.do = nil, nil
}

// intercept runs do when the kubelet next logs a message, in the goroutine that logs.
func (j *journal) intercept(message string, do func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at, j.do = message, do
}

// registrations returns how often plugins have tried to register a resource.
func (j *journal) registrations(name string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, line := range j.lines {
		if strings.Contains(line, "Got registration request") && strings.Contains(line, `"`+name+`"`) {
			n++
		}
	}
	return n
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}
