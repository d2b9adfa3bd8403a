package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// role is the environment variable that makes this test binary play another process:
// "connect" or "identify".
const role = "CONFCOM_TEST_PEER"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "":
		goleak.VerifyTestMain(m)
	case "connect":
		err = connectAndStay()
	case "identify":
		err = identifyInherited()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// connectAndStay connects to the socket in its argument and stays until its standard
// input ends.
func connectAndStay() error {
	conn, err := net.Dial("unix", os.Args[1])
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// identifyInherited prints the peer of file descriptor 3, twice if no process of the node is
// visible, and twice if they are.
func identifyInherited() error {
	conn, err := net.FileConn(os.NewFile(3, "connection"))
	if err != nil {
		return err
	}
	for _, seesNode := range []bool{false, true} {
		identifier := NewIdentifier(slog.New(slog.NewTextHandler(os.Stdout, nil)), Options{})
		identifier.seesNode = seesNode
		for range 2 {
			p := identifier.Identify(conn)
			fmt.Println(p.Key(), p.Process)
		}
		identifier.Close()
	}
	return nil
}

// start returns an identifier and its log.
func start(t testing.TB) (*Identifier, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	identifier := NewIdentifier(slog.New(slog.NewTextHandler(&log, nil)), Options{})
	identifier.freshness = 0 // tests notice at once that a process has ended
	t.Cleanup(identifier.Close)
	return identifier, &log
}

// proc returns a proc file system in which processes have the given cgroups, by
// process ID.
func proc(t *testing.T, cgroups map[int]string) string {
	t.Helper()
	dir := t.TempDir()
	for pid, path := range cgroups {
		setCgroup(t, dir, pid, path)
	}
	return dir
}

func setCgroup(t *testing.T, procfs string, pid int, path string) {
	t.Helper()
	dir := filepath.Join(procfs, strconv.Itoa(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::"+path+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// listen returns a listener on a unix socket.
func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func accept(t testing.TB, listener net.Listener) net.Conn {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dial returns the accepted end of a connection of this process.
func dial(t testing.TB, listener net.Listener) net.Conn {
	t.Helper()
	client, err := net.Dial(listener.Addr().Network(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return accept(t, listener)
}

// child is another process, which has connected to a listener.
type child struct {
	*exec.Cmd
	stdin io.Closer
	conn  net.Conn // the accepted end
}

func startChild(t *testing.T, listener net.Listener) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], listener.Addr().String())
	// With the race detector, a program sleeps for a second before it ends.
	cmd.Env = append(os.Environ(), role+"=connect", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: cmd, stdin: stdin}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			c.end(t)
			c.wait(t)
		}
	})
	c.conn = accept(t, listener)
	return c
}

func (c *child) pid() int { return c.Process.Pid }

// end waits until the process has ended. It still has to be waited for with wait.
func (c *child) end(t *testing.T) {
	t.Helper()
	c.stdin.Close()
	for {
		err := unix.Waitid(unix.P_PID, c.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

func (c *child) wait(t *testing.T) {
	t.Helper()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// self returns this process as a peer in the given pod and container.
func self(pod, container string) Peer {
	return Peer{User: uint32(os.Getuid()), Process: int32(os.Getpid()), Pod: pod, Container: container}.keyed()
}

func expect(t *testing.T, step string, got, want Peer) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %#v, want %#v", step, got, want)
	}
}

func TestIdentify(t *testing.T) {
	identifier, log := start(t)
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	want := identifier.locator.Locate(self("", ""), string(text))
	listener := listen(t)
	expect(t, "first connection", identifier.Identify(dial(t, listener)), want)
	expect(t, "second connection", identifier.Identify(dial(t, listener)), want)

	child := startChild(t, listener)
	want.Process = int32(child.pid())
	expect(t, "child", identifier.Identify(child.conn), want)
	if len(identifier.known) != 2 || log.Len() != 0 {
		t.Errorf("%d processes remembered, want 2; log: %s", len(identifier.known), log)
	}
}

func TestIdentifyByCgroup(t *testing.T) {
	tests := []struct {
		name, path     string
		pod, container string
		cgroup         string
		key            string
	}{
		{"pod", "/kubepods/burstable/pod" + uid + "/" + id, uid, id, "", "pod/" + uid},
		{"container", "/docker/" + id, "", id, "", "container/" + id},
		{"service", "/system.slice/sshd.service", "", "", "/system.slice/sshd.service", "cgroup/system.slice/sshd.service"},
		{"user", "/user.slice/user-1000.slice/user@1000.service/app.slice", "", "", "/user.slice/user-1000.slice", "cgroup/user.slice/user-1000.slice"},
		{"no cgroup", "/", "", "", "/", "cgroup/"},
	}
	listener := listen(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			identifier, _ := start(t)
			identifier.procfs = proc(t, map[int]string{os.Getpid(): test.path})
			p := identifier.Identify(dial(t, listener))
			want := self(test.pod, test.container)
			want.Cgroup = test.cgroup
			expect(t, "peer", p, want.keyed())
			if p.Key() != test.key {
				t.Errorf("key %s, want %s", p.Key(), test.key)
			}
		})
	}
}

// socketless is a connection without a socket.
type socketless struct{ net.Conn }

func (socketless) SyscallConn() (syscall.RawConn, error) { return nil, errors.New("no socket") }

func TestIdentifyNobody(t *testing.T) {
	identifier, log := start(t)
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	closed := dial(t, listen(t))
	closed.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for name, conn := range map[string]net.Conn{
		"none": nil, "pipe": pipe, "closed": closed, "TCP": dial(t, tcp), "no socket": socketless{pipe},
	} {
		expect(t, name, identifier.Identify(conn), Peer{})
	}
	if log.Len() != 0 {
		t.Errorf("log: %s", log)
	}
}

func TestRemember(t *testing.T) {
	identifier, _ := start(t)
	pid, listener := os.Getpid(), listen(t)
	identifier.procfs = proc(t, map[int]string{pid: "/kubepods/pod" + uid})
	expect(t, "first", identifier.Identify(dial(t, listener)), self(uid, ""))

	setCgroup(t, identifier.procfs, pid, "/kubepods/pod"+otherUID)
	expect(t, "remembered", identifier.Identify(dial(t, listener)), self(uid, ""))

	known := identifier.known[int32(pid)]
	known.peer.User++
	identifier.known[int32(pid)] = known
	expect(t, "with another user", identifier.Identify(dial(t, listener)), self(otherUID, ""))

	// Another process had this ID before.
	child := startChild(t, listener)
	pidfd, err := unix.PidfdOpen(child.pid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	child.end(t)
	child.wait(t)
	identifier.remember(&process{peer: self(uid, id), pidfd: pidfd})
	expect(t, "after another process", identifier.Identify(dial(t, listener)), self(otherUID, ""))
}

// A process seen alive a moment ago is not checked again.
func TestFreshness(t *testing.T) {
	identifier, _ := start(t)
	identifier.freshness = time.Hour
	listener := listen(t)
	child := startChild(t, listener)
	identifier.procfs = proc(t, map[int]string{child.pid(): "/kubepods/pod" + uid})
	first := identifier.Identify(child.conn)
	child.end(t)
	child.wait(t)
	expect(t, "a moment later", identifier.Identify(child.conn), first)
}

// Before Linux 6.16, nothing is known of a process that has ended.
func TestProcessEnded(t *testing.T) {
	identifier, log := start(t)
	identifier.openPidfd = func(raw syscall.RawConn, pid int32) (int, error) {
		pidfd, err := openPidfd(raw, pid)
		if err == nil && ended(pidfd) {
			unix.Close(pidfd)
			return -1, unix.ESRCH
		}
		return pidfd, err
	}
	listener := listen(t)
	child, early := startChild(t, listener), startChild(t, listener)
	identifier.procfs = proc(t, map[int]string{child.pid(): "/kubepods/pod" + uid, early.pid(): "/kubepods/pod" + uid})
	alone := func(pid int) Peer { return Peer{User: uint32(os.Getuid()), Process: int32(pid)}.unidentified() }

	inPod := Peer{User: uint32(os.Getuid()), Process: int32(child.pid()), Pod: uid}
	expect(t, "before", identifier.Identify(child.conn), inPod.keyed())
	child.end(t)
	expect(t, "after it ended", identifier.Identify(child.conn), alone(child.pid()))
	child.wait(t)
	expect(t, "after it was waited for", identifier.Identify(child.conn), alone(child.pid()))

	early.end(t)
	expect(t, "ended before Identify", identifier.Identify(early.conn), alone(early.pid()))
	early.wait(t)
	expect(t, "waited for before Identify", identifier.Identify(early.conn), alone(early.pid()))

	if len(identifier.known) != 0 || log.Len() != 0 {
		t.Errorf("%d processes remembered, want none; log: %s", len(identifier.known), log)
	}
}

// Since Linux 6.16, a process that has ended is known by its cgroup: if the cgroup was
// seen before, or if another process is in it now.
func TestEndedProcessHasItsPod(t *testing.T) {
	const inPod = "/kubepods/burstable/pod" + uid + "/" + id
	for _, tt := range []struct {
		name   string
		before bool           // its first connection is identified while it is alive
		others map[int]string // cgroups of other processes
		want   bool
	}{
		{"seen before", true, nil, true},
		{"another process in its cgroup", false, map[int]string{os.Getpid(): inPod}, true},
		{"nobody in its cgroup", false, nil, false},
		{"no pod in its cgroup", false, map[int]string{os.Getpid(): "/system.slice/sshd.service"}, false},
		{"a pod of cgroup v1", false, map[int]string{os.Getpid(): "/\n1:name=systemd:" + inPod}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			identifier, _ := start(t)
			listener := listen(t)
			child := startChild(t, listener)
			identifier.procfs = proc(t, map[int]string{child.pid(): inPod})
			identifier.index.procfs = proc(t, tt.others)
			want := Peer{User: uint32(os.Getuid()), Process: int32(child.pid())}
			inItsPod := want
			inItsPod.Pod, inItsPod.Container = uid, id
			if tt.before {
				expect(t, "alive", identifier.Identify(child.conn), inItsPod.keyed())
			}
			child.end(t)
			child.wait(t)
			if raw, err := child.conn.(syscall.Conn).SyscallConn(); err != nil {
				t.Fatal(err)
			} else if pidfd, err := openPidfd(raw, int32(child.pid())); err != nil {
				t.Skip("NOT RUN: this kernel knows nothing of a process that has ended: ", err)
			} else {
				unix.Close(pidfd)
			}
			if want = want.unidentified(); tt.want {
				want = inItsPod.keyed()
			}
			got := identifier.Identify(child.conn)
			expect(t, "ended", got, want)
			if got.Identified() != tt.want || got.Restricted() == tt.want {
				t.Errorf("identified: %v, restricted: %v", got.Identified(), got.Restricted())
			}
		})
	}
}

// unknownTo returns the index of an identifier and the pidfd of a process that it does not
// know.
func unknownTo(t *testing.T, identifier *Identifier) (x *index, pidfd int) {
	t.Helper()
	child := startChild(t, listen(t))
	raw, err := child.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err = openPidfd(raw, int32(child.pid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pidfd) })
	if _, ok := cgroupID(pidfd); !ok {
		t.Skip("NOT RUN: this kernel does not report the cgroup of a process")
	}
	identifier.index.procfs = t.TempDir()
	return identifier.index, pidfd
}

// All processes are looked at only now and then.
func TestScanIsRare(t *testing.T) {
	identifier, _ := start(t)
	x, pidfd := unknownTo(t, identifier)
	if _, ok := x.find(pidfd); ok {
		t.Error("found without any process")
	}
	x.scan.Wait()
	setCgroup(t, x.procfs, os.Getpid(), "/kubepods/pod"+uid)
	if _, ok := x.find(pidfd); ok {
		t.Error("looked again at once")
	}
	x.scan.Wait()
	x.next = time.Time{}
	if _, ok := x.find(pidfd); !ok {
		x.scan.Wait() // the machine is slow
	}
	if got, ok := x.find(pidfd); !ok || got.pod != uid {
		t.Errorf("got %+v, %v", got, ok)
	}
}

// A scan that takes long holds up no caller for long, and ends with the identifier.
func TestScanHoldsUpNobody(t *testing.T) {
	identifier, _ := start(t)
	x, pidfd := unknownTo(t, identifier)
	dir := filepath.Join(x.procfs, "1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "cgroup") // nobody writes to it
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.find(pidfd); ok {
		t.Error("found while the scan hangs")
	}
	conn := dial(t, listen(t))
	if p := identifier.Identify(conn); !p.Identified() {
		t.Errorf("another caller: %#v", p)
	}
	if _, ok := x.find(pidfd); ok { // without waiting again
		t.Error("found while the scan hangs")
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	identifier.Close()
	if _, _, scanned := x.place(0); scanned != nil {
		t.Error("scans after Close")
	}
}

func TestUnreadable(t *testing.T) {
	identifier, log := start(t)
	listener := listen(t)
	identifier.procfs = t.TempDir()
	for range 2 {
		expect(t, "without its directory", identifier.Identify(dial(t, listener)), self("", "").unidentified())
	}
	if strings.Count(log.String(), "cannot read the cgroup") != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log: %s", log)
	}
	setCgroup(t, identifier.procfs, os.Getpid(), "/kubepods/pod"+uid)
	expect(t, "with its directory", identifier.Identify(dial(t, listener)), self(uid, ""))
}

func TestWithoutPidfds(t *testing.T) {
	identifier, _ := start(t)
	pid, conn := os.Getpid(), dial(t, listen(t))
	identifier.procfs = proc(t, map[int]string{pid: "/kubepods/pod" + uid})
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		identifier.openPidfd = func(syscall.RawConn, int32) (int, error) { return -1, errno }
		expect(t, errno.Error(), identifier.Identify(conn), self("", "").unidentified())
	}
	const stat = ") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 500 21" // the name is before it
	for _, errno := range []error{unix.ENOSYS, unix.EPERM} {
		identifier.openPidfd = func(syscall.RawConn, int32) (int, error) { return -1, errno }
		for _, tt := range []struct {
			name, stat string
			known      bool
		}{
			{"alive", "7 (a) Z 1" + stat, true},
			{"ended", strings.Replace("7 (a"+stat, "S", "Z", 1), false},
			{"short", "7 (a) S 1 2", false},
			{"empty", "", false},
		} {
			setStat(t, identifier.procfs, pid, tt.stat)
			want := self("", "").unidentified()
			if tt.known {
				want = self(uid, "")
			}
			expect(t, errno.Error()+", "+tt.name, identifier.Identify(conn), want)
		}
	}
	setStat(t, identifier.procfs, pid, "7 (a"+stat)
	setCgroup(t, identifier.procfs, pid, "/kubepods/pod"+otherUID)
	expect(t, "read each time", identifier.Identify(conn), self(otherUID, ""))
	identifier.procfs = t.TempDir()
	expect(t, "unreadable", identifier.Identify(conn), self("", "").unidentified())
	if len(identifier.known) != 0 {
		t.Errorf("%d processes remembered, want none", len(identifier.known))
	}
}

// Without pidfds, the cgroup is read of a process whose ID another one has got meanwhile: the
// cgroup file, a FIFO here, lets the test change the process before it is read.
func TestIDReusedWithoutPidfds(t *testing.T) {
	identifier, _ := start(t)
	pid, conn := os.Getpid(), dial(t, listen(t))
	identifier.openPidfd = func(syscall.RawConn, int32) (int, error) { return -1, unix.ENOSYS }
	identifier.procfs = t.TempDir()
	setStat(t, identifier.procfs, pid, "7 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 500")
	fifo := identifier.procFile(int32(pid), "cgroup")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // when it is opened to be read
		if err != nil {
			t.Error(err)
			return
		}
		setStat(t, identifier.procfs, pid, "7 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 501")
		fmt.Fprintln(w, "0::/kubepods/pod"+uid)
		w.Close()
	}()
	expect(t, "another process", identifier.Identify(conn), self("", "").unidentified())
}

func setStat(t *testing.T, procfs string, pid int, text string) {
	t.Helper()
	dir := filepath.Join(procfs, strconv.Itoa(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// pidfds returns how many pidfds this process has open.
func pidfds(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); strings.Contains(link, "pidfd") {
			n++
		}
	}
	return n
}

func TestBounded(t *testing.T) {
	listener := listen(t)
	children := []*child{startChild(t, listener), startChild(t, listener), startChild(t, listener)}
	before := pidfds(t)
	identifier, _ := start(t)
	identifier.max = 2
	for range 3 {
		for _, child := range children {
			if p := identifier.Identify(child.conn); p.Process != int32(child.pid()) {
				t.Errorf("process %d, want %d", p.Process, child.pid())
			}
		}
	}
	if n := pidfds(t) - before; len(identifier.known) != 2 || n != 2 {
		t.Errorf("%d processes remembered with %d pidfds, want 2", len(identifier.known), n)
	}

	identifier.Close()
	identifier.Close()
	if p := identifier.Identify(children[0].conn); p.Process != int32(children[0].pid()) {
		t.Errorf("after Close: %#v", p)
	}
	if n := pidfds(t) - before; n != 0 {
		t.Errorf("%d pidfds still open", n)
	}
}

func TestConcurrent(t *testing.T) {
	listener := listen(t)
	conns := []net.Conn{dial(t, listener), startChild(t, listener).conn, startChild(t, listener).conn}
	before := pidfds(t)
	identifier, _ := start(t)
	identifier.max = 2
	var want []Peer
	for _, conn := range conns {
		want = append(want, identifier.Identify(conn))
	}
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for n := range 100 {
				c := n % len(conns)
				if p := identifier.Identify(conns[c]); p != want[c] {
					t.Errorf("%#v, want %#v", p, want[c])
				}
			}
		})
	}
	running.Wait()
	identifier.Close()
	if n := pidfds(t) - before; n != 0 {
		t.Errorf("%d pidfds still open", n)
	}
}

func TestInvisibleNamespace(t *testing.T) {
	// The other process is in its own PID namespace, where it cannot see this one,
	// which is the peer of its connection.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	defer theirs.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"=identify", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1234, HostID: os.Getuid(), Size: 1}},
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skip("NOT RUN: this machine does not allow user namespaces: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	if strings.Count(text, "uid/1234 0\n") != 2 {
		t.Errorf("want two peers known only by user:\n%s", text)
	}
	if strings.Count(text, "unidentified 0\n") != 2 {
		t.Errorf("want two unidentified peers where the node is visible:\n%s", text)
	}
	if strings.Count(text, "hostPID") != 1 || strings.Count(text, "level=WARN") != 2 {
		t.Errorf("want one warning each:\n%s", text)
	}
}

func BenchmarkIdentify(b *testing.B) {
	identifier, _ := start(b)
	conn := dial(b, listen(b))
	b.ReportAllocs()
	for b.Loop() {
		if identifier.Identify(conn).Key() == "unknown" {
			b.Fatal("unknown")
		}
	}
}

// TestNamed checks that a peer has the name of its pod, which does not change its key.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "team-a_job-x2x4z_"+uid), 0o755); err != nil {
		t.Fatal(err)
	}
	i := NewIdentifier(slog.New(slog.DiscardHandler), Options{KubeletCgroup: "/kubepods", PodLogs: dir})
	defer i.Close()
	p := i.locator.Locate(Peer{Process: 7}, "0::/kubepods/burstable/pod"+uid+"/"+id+"\n")
	if p.Namespace != "team-a" || p.Name != "job-x2x4z" || p.Key() != "pod/"+uid {
		t.Errorf("%#v", p)
	}
}
