package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// childMode has this test binary be the child.
const childMode = "HANDOVER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// child sends back what comes on each connection, until the parent ends.
func child() int {
	l, err := Inherit()
	if err == nil {
		err = l.Serve(context.Background(), func(conn net.Conn) {
			defer conn.Close()
			io.Copy(conn, conn)
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func start(t *testing.T) (*Dialer, *exec.Cmd) {
	t.Helper()
	dialer, file, err := NewDialer()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=1")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return dialer, cmd
}

func TestConnections(t *testing.T) {
	dialer, cmd := start(t)
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for j := range 20 {
				want := fmt.Sprintf("%d.%d", i, j)
				conn, err := dialer.Dial(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := conn.Write([]byte(want)); err != nil {
					t.Error(err)
				}
				if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
					t.Error(err)
				}
				if got, err := io.ReadAll(conn); err != nil || string(got) != want {
					t.Errorf("read %q, %v", got, err)
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	if err := dialer.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error("the child, after the end of its parent:", err)
	}
}

// A connection that is kept is the next one that is dialed, and the child has no
// other; those that are kept at the end are closed.
func TestKeep(t *testing.T) {
	dialer, cmd := start(t)
	first, err := dialer.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := dialer.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dialer.Keep(first)
	if conn, err := dialer.Dial(t.Context()); err != nil || conn != first {
		t.Errorf("dialed %v, %v", conn, err)
	}
	dialer.Keep(first)
	if err := dialer.Close(); err != nil {
		t.Error(err)
	}
	dialer.Keep(second)
	for _, conn := range []net.Conn{first, second} {
		if _, err := conn.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a connection is open: %v", err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error("the child, after the end of its parent:", err)
	}
}

// A connection to a child that has died fails, and one that was under way ends.
func TestDeadChild(t *testing.T) {
	dialer, cmd := start(t)
	defer dialer.Close()
	conn, err := dialer.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd.Process.Kill()
	cmd.Wait()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("read from a dead child")
	}
	if conn, err := dialer.Dial(t.Context()); err == nil {
		conn.Close()
		t.Error("dialed a dead child")
	}
}

func TestInheritNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=1")
	if err := cmd.Run(); err == nil {
		t.Error("a process without a parent listens")
	}
}
