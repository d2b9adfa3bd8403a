package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	advertised "github.com/confcom/confcom/internal/epc"
)

// TestOutages checks what comes back after something on the node was away, in which time,
// while pods with EPC run and the quote helper is under load. Nothing may need a hand. It
// prints a table, with what an administrator sees meanwhile.
func TestOutages(t *testing.T) {
	m := &matrix{base: chartValues(t)}
	t.Cleanup(func() { m.ensure(t, true, false) })
	table := "| what | mode | node ready | quotes | all EPC | a new pod | all pods of a Deployment | pods failed | a pod without a controller | seen |\n|---|---|---|---|---|---|---|---|---|---|\n"
	t.Cleanup(func() { fmt.Print(table) })
	for _, tt := range []struct {
		name  string
		node  bool
		ends  bool // all containers
		short bool
		do    func(*testing.T)
	}{
		{"kubelet restarted", false, false, false, func(t *testing.T) { run(t, "", "bin/cluster", "restart", kubelet) }},
		{"containerd restarted", false, false, false, func(t *testing.T) { run(t, "", "bin/cluster", "restart", "containerd") }},
		{"power failure", false, true, true, powerFailure},
		{"kubelet restarted", true, false, false, func(t *testing.T) { run(t, "", "bin/cluster", "restart", kubelet) }},
		{"containerd restarted", true, false, false, func(t *testing.T) { run(t, "", "bin/cluster", "restart", "containerd") }},
		{"power failure", true, true, false, powerFailure},
	} {
		mode := map[bool]string{false: "devices", true: "node"}[tt.node]
		t.Run(tt.name+"/"+mode, func(t *testing.T) {
			if !tt.short {
				long(t)
			}
			m.ensure(t, true, tt.node)
			all := map[bool]string{false: epc, true: nodeEPC}[tt.node]
			o := observe(t)
			holder := newPod(t, "default", "holder", limits{resource: "10"})
			deploy(t, "outage", 3)
			deployLoad(t, 3)
			holder.waitReady(t)
			container := holder.container(t)
			q := startQuoter(t)
			q.awaitNext(t, time.Minute)

			began := time.Now()
			since := func() string { return seconds(time.Since(began)) }
			tt.do(t)
			ready := since()
			q.awaitNext(t, 2*time.Minute)
			quotes := since()
			waitAllocatable(t, resource, all)
			number := since()
			next := newPod(t, "default", "next", limits{resource: "1"})
			next.waitReady(t)
			newPod := since()
			for _, name := range []string{"outage", "load"} {
				kubectl(t, "-n", "default", "rollout", "status", "deployment/"+name, "--timeout=120s")
			}
			deployed := since()
			for _, daemon := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
				waitRollout(t, daemon)
			}
			fate := holder.get(t, "{.status.phase} {.status.reason} restarts={.status.containerStatuses[0].restartCount}")
			failed := o.failures()
			row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %d | %s | %s |\n", tt.name, mode, ready, quotes, number, newPod, deployed, len(failed), fate, warnings(t, began))
			t.Log(row)
			t.Logf("failed pods: %q", failed)
			if !tt.ends && (len(failed) > 0 || holder.container(t) != container) {
				t.Errorf("failed pods: %q; the pod that ran is %s, was %s", failed, holder.container(t), container)
			}
			table += row
		})
	}
}

// powerFailure kills all processes of the node at once, and starts them without what nodes
// have in memory.
func powerFailure(t *testing.T) {
	t.Helper()
	run(t, "", "bin/cluster", "reboot", "--volatile", advertised.DefaultStateDir, "--volatile", aesmDir)
}

// deployLoad creates pods that get quotes without pause, and deletes them after the test.
func deployLoad(t *testing.T, replicas int) {
	t.Helper()
	spec := podSpec(confcom, limits{resource: "1", "cpu": "25m", "memory": "64Mi"}, "bench", "--clients=1", "--duration=1h", "-o=json")
	labels := object{"app": "load"}
	kubectl(t, "-n", "default", "delete", "deployment", "load", "--ignore-not-found", "--cascade=foreground")
	t.Cleanup(func() {
		kubectl(t, "-n", "default", "delete", "deployment", "load", "--cascade=foreground", "--timeout=30s")
	})
	create(t, object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "load", "namespace": "default"},
		"spec": object{"replicas": replicas, "selector": object{"matchLabels": labels},
			"template": object{"metadata": object{"labels": labels}, "spec": spec}},
	})
	kubectl(t, "-n", "default", "rollout", "status", "deployment/load", "--timeout=60s")
}

// warnings returns what an administrator sees: the kinds of the chart's lines at WARN or
// ERROR, and the reasons of warning events.
func warnings(t *testing.T, since time.Time) string {
	t.Helper()
	var seen []string
	for _, daemon := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		log, err := try(t, "", "kubectl", "-n", namespace, "logs", "-l", "app.kubernetes.io/name="+daemon, "--tail=-1", "--since-time="+since.UTC().Format(time.RFC3339))
		if err != nil {
			t.Log(err)
		}
		for line := range strings.Lines(log) {
			var l struct{ Level, Msg, Error, Reason string }
			if json.Unmarshal([]byte(line), &l) == nil && (l.Level == "WARN" || l.Level == "ERROR") && !strings.HasPrefix(l.Msg, "SIMULATED") {
				seen = append(seen, fmt.Sprintf("%s: %s (%s)", daemon, l.Msg, cmp.Or(l.Error, l.Reason)))
			}
		}
	}
	var events struct {
		Items []struct {
			Reason, Message, LastTimestamp, EventTime string
			InvolvedObject                            struct{ Kind, Namespace string }
		}
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "events", "-A", "--field-selector=type=Warning", "-o", "json")), &events); err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		at, err := time.Parse(time.RFC3339, cmp.Or(e.LastTimestamp, e.EventTime))
		if ofCluster := e.Reason == "CgroupV1" || e.Reason == "MissingClusterDNS"; err == nil && at.After(since.Add(-time.Second)) && !ofCluster {
			seen = append(seen, fmt.Sprintf("event %s of a %s", e.Reason, e.InvolvedObject.Kind))
		}
	}
	slices.Sort(seen)
	return strings.ReplaceAll(strings.Join(slices.Compact(seen), "; "), "|", "/")
}

// TestFullDisk checks what happens when a directory in which a daemon writes is full as the
// daemon starts, and that it goes on once there is room.
func TestFullDisk(t *testing.T) {
	base := chartValues(t)
	restart := func(t *testing.T, daemons ...string) {
		for _, daemon := range daemons {
			kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/"+daemon)
		}
	}
	t.Cleanup(func() { install(t, base) })
	for _, tt := range []struct {
		name    string
		dir     string
		daemon  string
		warning string
	}{
		{"state of the device plugin", advertised.DefaultStateDir, "sgx-device-plugin", "no space left on device"},
		{"socket of the quote helper", aesmDir, helper, "no space left on device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			long(t)
			mountSmall(t, tt.dir)
			everything := []string{"sgx-device-plugin", "sgx-node-resource", helper}
			moveIn := func() {
				restart(t, everything...)
				for _, daemon := range everything {
					waitRollout(t, daemon)
				}
			}
			t.Cleanup(func() {
				if err := unix.Unmount(tt.dir, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
				moveIn()
			})
			moveIn()
			waitAllocatable(t, resource, epc)
			holder := newPod(t, "default", "holder", limits{resource: "10"})
			holder.waitReady(t)
			before := holder.container(t)
			startClients(t, 3)
			room := fill(t, tt.dir)
			began := time.Now()
			restart(t, tt.daemon)
			eventually(t, "the log has the cause", func() bool {
				log, err := try(t, "", "kubectl", "-n", namespace, "logs", "-l", "app.kubernetes.io/name="+tt.daemon, "--tail=-1", "--since-time="+began.UTC().Format(time.RFC3339))
				return err == nil && strings.Contains(log, tt.warning)
			})
			t.Logf("seen after %s: %s", seconds(time.Since(began)), warnings(t, began))
			t.Logf("pods:\n%s", kubectl(t, "-n", namespace, "get", "pods"))
			t.Logf("allocatable: %s", kubectl(t, "get", "node", nodeName(t), "-o", "jsonpath="+allocatable(resource)))
			t.Logf("condition: %s, %s", condition(t, "reason"), condition(t, "message"))
			freed := time.Now()
			room()
			waitRollout(t, tt.daemon)
			t.Logf("ready %s after there was room again", seconds(time.Since(freed)))
			waitAllocatable(t, resource, epc)
			if after := holder.container(t); after != before {
				t.Errorf("the pod with EPC is %s, was %s", after, before)
			}
			for _, result := range endClients(t, 3) {
				if result.Failed != 0 || result.Requests == 0 {
					t.Errorf("the client failed: %+v", result)
				}
			}
		})
	}
}

// mountSmall mounts a small file system over a directory.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=64k,nr_inodes=16,mode=0755"); err != nil {
		t.Fatal(err)
	}
}

// fill creates files in a directory until its file system is full. The returned function
// removes them.
func fill(t *testing.T, dir string) (room func()) {
	t.Helper()
	var files []string
	for n := 0; ; n++ {
		file := filepath.Join(dir, fmt.Sprintf("full-%d", n))
		err := os.WriteFile(file, nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return func() {
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
}
