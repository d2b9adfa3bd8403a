package soak

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pods are cgroups named like those of the kubelet. A nil *pods has none: all processes
// stay where they are, and the helper sees them as one peer.
type pods struct{ root string }

// newPods finds a file system to create cgroups in. The error is why there is none;
// usually, it takes root.
func newPods(t testing.TB) (*pods, error) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	err = errors.New("no cgroup file system is mounted")
	for line := range strings.Lines(string(mounts)) {
		mount, fileSystem, _ := strings.Cut(line, " - ")
		if !strings.HasPrefix(fileSystem, "cgroup") {
			continue
		}
		var root string
		if root, err = os.MkdirTemp(strings.Fields(mount)[4], "confcom-soak-"); err != nil {
			continue
		}
		p := &pods{root}
		t.Cleanup(func() { p.remove(t) })
		// Moving a child process shows whether the cgroups can be used.
		child := start(t, roleClients, nil, nil)
		err = p.join(0, child.Process.Pid)
		child.kill()
		if err == nil {
			return p, nil
		}
	}
	return nil, err
}

func uid(pod int) string { return fmt.Sprintf("50a70000-0000-4000-8000-%012d", pod) }

// helperArgs returns the arguments by which a helper knows these cgroups as pods.
func (p *pods) helperArgs() []string {
	if p == nil {
		return nil
	}
	return []string{"--kubelet-cgroup=/" + filepath.Base(p.root) + "/kubepods"}
}

// join moves a process into the only container of a pod.
func (p *pods) join(pod, pid int) error {
	if p == nil {
		return nil
	}
	container := filepath.Join(p.root, "kubepods", "pod"+uid(pod), fmt.Sprintf("%064d", pod))
	if err := os.MkdirAll(container, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(container, "cgroup.procs"), fmt.Append(nil, pid), 0o600); err != nil {
		return err
	}
	now, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	if !strings.Contains(string(now), uid(pod)) {
		return fmt.Errorf("process moved into %s is in\n%s", container, now)
	}
	return nil
}

// remove removes all cgroups, whose processes have ended.
func (p *pods) remove(t testing.TB) {
	var all []string
	_ = filepath.WalkDir(p.root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for i := len(all) - 1; i >= 0; i-- { // the deepest first
		deadline := time.Now().Add(patience)
		for {
			err := os.Remove(all[i])
			if err == nil {
				break
			}
			if time.Now().After(deadline) { // the kernel needs a moment
				t.Errorf("remove cgroup: %v", err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
