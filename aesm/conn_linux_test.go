package aesm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// accepted returns both ends of a connection, ours as a Listener accepts it.
func accepted(t *testing.T) (ours *unixConn, theirs *net.UnixConn) {
	t.Helper()
	l, err := Listen(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs = dialUnix(t, l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*unixConn), theirs
}

func TestConnWithoutWaiting(t *testing.T) {
	ours, theirs := accepted(t)
	if _, _, done := ours.tryRead(make([]byte, 8)); done {
		t.Error("tryRead has read before anything was written")
	}
	theirs.Write([]byte("question"))
	p := make([]byte, 8)
	if n, err := ours.Read(p); err != nil || string(p[:n]) != "question" {
		t.Errorf("read %q, %v", p[:n], err)
	}
	if n, err := ours.Write([]byte("answer")); n != 6 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if ours.LocalAddr().Network() != "unix" || ours.RemoteAddr().Network() != "unix" {
		t.Errorf("the addresses are %s and %s", ours.RemoteAddr(), ours.LocalAddr())
	}
	theirs.CloseWrite()
	if n, err := ours.Read(p); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if ours.file != nil {
		t.Error("the connection was registered with the poller")
	}
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(theirs); string(got) != "answer" || err != nil {
		t.Errorf("the peer read %q, %v", got, err)
	}
}

// A write that exceeds the socket's buffer waits for the peer to read.
func TestConnWaits(t *testing.T) {
	ours, theirs := accepted(t)
	large := bytes.Repeat([]byte("confcom "), 1<<17)
	read := make(chan []byte)
	go func() {
		theirs.Write([]byte("go on"))
		got := make([]byte, len(large))
		io.ReadFull(theirs, got)
		read <- got
	}()
	p := make([]byte, 8)
	if n, err := ours.Read(p); err != nil || string(p[:n]) != "go on" {
		t.Errorf("read %q, %v", p[:n], err)
	}
	if n, err := ours.Write(large); n != len(large) || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if !bytes.Equal(<-read, large) {
		t.Error("the peer read something else")
	}
}

func TestConnDeadlines(t *testing.T) {
	soon := func() time.Time { return time.Now().Add(10 * time.Millisecond) }
	large := make([]byte, 8<<20)
	for _, tt := range []struct {
		name string
		do   func(c *unixConn) error
	}{
		{"read, set before", func(c *unixConn) error {
			c.SetReadDeadline(soon())
			_, err := c.Read(make([]byte, 1))
			return err
		}},
		{"read, set meanwhile", func(c *unixConn) error {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			time.AfterFunc(10*time.Millisecond, func() { c.SetReadDeadline(soon()) })
			_, err := c.Read(make([]byte, 1))
			return err
		}},
		{"write", func(c *unixConn) error {
			c.SetDeadline(soon())
			_, err := c.Write(large)
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, _ := accepted(t)
			err := tt.do(ours)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
			}
			if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
				t.Errorf("%v is not a timeout", err)
			}
		})
	}
}

func TestConnClosed(t *testing.T) {
	ours, _ := accepted(t)
	result := make(chan error)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		result <- err
	}()
	time.AfterFunc(5*time.Millisecond, func() { ours.Close() })
	if err := <-result; err == nil || err == io.EOF {
		t.Errorf("the read in progress: %v", err)
	}
	for name, do := range map[string]func() error{
		"read":    func() error { _, err := ours.Read(make([]byte, 1)); return err },
		"write":   func() error { _, err := ours.Write([]byte("x")); return err },
		"close":   ours.Close,
		"control": func() error { raw, _ := ours.SyscallConn(); return raw.Control(func(uintptr) {}) },
	} {
		err := do()
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
		if opErr, ok := errors.AsType[*net.OpError](err); !ok || opErr.Net != "unix" || opErr.Addr == nil {
			t.Errorf("%s: got %#v, want a *net.OpError", name, err)
		}
	}
}

func TestConnSyscall(t *testing.T) {
	ours, theirs := accepted(t)
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	socketType := func() (kind int) {
		if err := raw.Control(func(fd uintptr) {
			kind, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE)
		}); err != nil {
			t.Error(err)
		}
		return kind
	}
	if kind := socketType(); kind != syscall.SOCK_STREAM {
		t.Errorf("got a socket of type %d", kind)
	}
	// These may wait, so the connection becomes a file.
	theirs.Write([]byte("x"))
	if err := raw.Read(func(fd uintptr) bool { _, err := syscall.Read(int(fd), make([]byte, 1)); return err == nil }); err != nil {
		t.Error(err)
	}
	if err := raw.Write(func(fd uintptr) bool { return true }); err != nil {
		t.Error(err)
	}
	if kind := socketType(); kind != syscall.SOCK_STREAM || ours.file == nil {
		t.Errorf("as a file, got a socket of type %d", kind)
	}
}

func TestCallerWaits(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(client *net.UnixConn)
		want bool
	}{
		{"waits", func(*net.UnixConn) {}, true},
		{"has closed its half", func(c *net.UnixConn) { c.CloseWrite() }, true},
		{"has gone", func(c *net.UnixConn) { c.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newStub()
			entered, look, waits := make(chan struct{}), make(chan struct{}), make(chan bool, 1)
			h.onQuote = func(_ context.Context, caller Caller) {
				close(entered)
				<-look
				waits <- caller.Waits()
			}
			path, _ := start(t, &Server{Handler: h})
			client := dialUnix(t, path)
			client.Write(quoteRequest(t, 1000))
			<-entered
			tt.do(client)
			close(look)
			if got := <-waits; got != tt.want {
				t.Errorf("Waits = %v, want %v", got, tt.want)
			}
		})
	}
	if !(Caller{}).Waits() {
		t.Error("an unknown caller does not wait")
	}
}
