package enclavememory

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
	"github.com/confcom/confcom/internal/peer"
)

const (
	pod       = "2c48913c-b29f-11e7-9350-020968147796"
	container = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961"
)

// a proc file system with two processes of a pod, a service of the node, and others.
func newProcfs() nodetest.Tree {
	tree := nodetest.Tree{
		"self/cgroup": "0::/user.slice/user-0.slice/session-3.scope\n",
		"cpuinfo":     "processor: 0\n",
		"sys/x":       "",
	}
	for pid, p := range map[string]struct{ name, cgroup, maps string }{
		"1":    {"systemd", "/init.scope", "55d0c0000000-55d0c0001000 r--p 00000000 08:01 1 /usr/lib/systemd/systemd\n"},
		"2":    {"kthreadd", "/", ""},
		"310":  {"aesm_service", "/system.slice/aesmd.service", isgx},
		"4711": {"app", "/kubepods/burstable/pod" + pod + "/" + container, sdk},
		"4712": {"a name\nof two)", "/kubepods/burstable/pod" + pod + "/" + container, sdk + isgx},
	} {
		tree[pid+"/comm"], tree[pid+"/cgroup"], tree[pid+"/maps"] = p.name+"\n", "0::"+p.cgroup+"\n", p.maps
	}
	return tree
}

func newFinder(procfs, podLogs string) Finder {
	return Finder{Procfs: procfs, Locator: peer.NewLocator(procfs, "", podLogs)}
}

// found is a Process as a test expects it.
type found struct {
	pid       int32
	command   string
	key, name string
	mapped    node.Size
}

func foundIn(u Usage) (all []found) {
	for _, p := range u.Processes {
		all = append(all, found{p.Process, p.Command, p.Key(), p.Namespace + "/" + p.Name, p.Mapped})
	}
	return all
}

func TestFind(t *testing.T) {
	logs := t.TempDir()
	if err := os.Mkdir(filepath.Join(logs, "team-a_job_"+pod), 0o755); err != nil {
		t.Fatal(err)
	}
	usage, err := newFinder(newProcfs().Make(t), logs).Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []found{
		{4712, "a name\nof two)", "pod/" + pod, "team-a/job", 256<<20 + 64<<10},
		{310, "aesm_service", "cgroup/system.slice/aesmd.service", "/", 256 << 20},
		{4711, "app", "pod/" + pod, "team-a/job", 64 << 10},
	}
	if diff := cmp.Diff(want, foundIn(usage), cmp.AllowUnexported(found{})); diff != "" {
		t.Error(diff)
	}
	if usage.Unreadable != 0 || usage.Partial || usage.Mapped() != 2*(256<<20+64<<10) {
		t.Errorf("%d unreadable, partial %v, %d", usage.Unreadable, usage.Partial, usage.Mapped())
	}
}

// A process may end at any time. Without that of the kernel, others may be hidden.
func TestEnded(t *testing.T) {
	for _, missing := range []string{"4711/maps", "4711/cgroup", "4711/comm", "2/comm"} {
		tree := newProcfs()
		delete(tree, missing)
		usage, err := newFinder(tree.Make(t), "").Find(t.Context())
		ended := strings.HasPrefix(missing, "4711")
		if err != nil || len(usage.Processes) != 3-map[bool]int{true: 1}[ended] || usage.Unreadable != 0 || usage.Partial == ended {
			t.Errorf("without %s: %v, %+v", missing, err, usage)
		}
	}
}

func TestNotExamined(t *testing.T) {
	procfs := newProcfs().Make(t)
	if _, err := newFinder(filepath.Join(procfs, "absent"), "").Find(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newFinder(procfs, "").Find(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), procfs) {
		t.Error(err)
	}
	tree := newProcfs()
	tree["310/maps"] = "nonsense /dev/isgx\n"
	if _, err := newFinder(tree.Make(t), "").Find(t.Context()); !errors.Is(err, errNotMapping) || !strings.Contains(err.Error(), "/310: ") {
		t.Error(err)
	}
}

// A process hides no others by what Linux shows of it.
func TestOneTooLong(t *testing.T) {
	tree := newProcfs()
	tree["310/maps"] = "7f0000000000-7f0000001000 r--s 00000000 00:05 84 " + strings.Repeat("/directory", 10_000) + "\n" + isgx
	usage, err := newFinder(tree.Make(t), "").Find(t.Context())
	if err != nil || usage.Unreadable != 1 || !errors.Is(usage.Why, errTooLong) || !strings.Contains(usage.Why.Error(), "/310: ") || len(usage.Processes) != 2 {
		t.Errorf("%v, %+v", err, usage)
	}
}

// Linux shows paths of any length. This process has one, and counts as not examined.
func TestLongPathOnLinux(t *testing.T) {
	t.Chdir(t.TempDir())
	name := strings.Repeat("d", 255)
	for range 300 { // a relative path each, as an absolute one has at most 4,095 bytes
		if err := errors.Join(os.Mkdir(name, 0o700), os.Chdir(name)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	memory, err := syscall.Mmap(int(file.Fd()), 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(memory) }()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	if _, err := mapped(maps); !errors.Is(err, errTooLong) {
		t.Errorf("the path in /proc/self/maps is not too long: %v", err)
	}
	if usage, err := newFinder("/proc", "").Find(t.Context()); err != nil || usage.Unreadable == 0 {
		t.Errorf("%v, %d unreadable", err, usage.Unreadable)
	}
}

// Processes of other users are counted, not taken for ones without enclaves.
func TestUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: needs root, to become another user")
	}
	tree := newProcfs()
	procfs := tree.Make(t)
	for path, mode := range map[string]os.FileMode{"310": 0o700, "4711/maps": 0o600} {
		if err := os.Chmod(filepath.Join(procfs, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	for dir := procfs; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("as another user", func(t *testing.T) {
		runtime.LockOSThread() // the thread ends with this goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		usage, err := newFinder(procfs, "").Find(t.Context())
		if err != nil || usage.Unreadable != 2 || len(usage.Processes) != 1 || usage.Processes[0].Process != 4712 {
			t.Errorf("%v, %+v", err, usage)
		}
	})
}

// What Linux itself shows of this process is understood: it maps a file with the path of the
// device, as it maps the device.
func TestLinux(t *testing.T) {
	device := filepath.Join(t.TempDir(), "dev/sgx_enclave")
	nodetest.Put(t, device, "")
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const pages = 37
	size := pages * os.Getpagesize()
	memory, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_NONE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(memory) }) // only if the test failed
	expect := func(what string, want int) {
		t.Helper()
		usage, err := newFinder("/proc", "").Find(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[int32]node.Size)
		for _, p := range usage.Processes {
			got[p.Process] = p.Mapped
		}
		if own := got[int32(os.Getpid())]; own != node.Size(want) {
			t.Errorf("%s: %d bytes, want %d; processes %v", what, own, want, slices.Sorted(maps.Keys(got)))
		}
	}
	expect("reserved", 0)
	third := memory[os.Getpagesize() : 3*os.Getpagesize()]
	if err := syscall.Mprotect(third, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	expect("two pages with access", len(third))
	if err := syscall.Mprotect(memory, syscall.PROT_READ); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(device); err != nil {
		t.Fatal(err)
	}
	expect("all pages with access, device removed", size)
	if err := syscall.Munmap(memory); err != nil {
		t.Fatal(err)
	}
	expect("unmapped", 0)
}
