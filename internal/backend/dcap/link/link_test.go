package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// All kinds of requests and replies reach the other end as they are, and do not mix
// when they are concurrent.
func TestRequests(t *testing.T) {
	client, cmd := start(t)
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			for j := range 20 {
				report := testReport(wantQuote, byte(i), byte(j))
				quoted, err := client.Quote(t.Context(), report, nil)
				if err != nil || sgx.ReportData(quoted.Quote) != report.Body.ReportData || quoted.QEReport != (sgx.Report{}) {
					t.Errorf("%d.%d: %x, %v", i, j, quoted.Quote, err)
				}
			}
		})
	}
	callers.Wait()

	identity, err := client.Initialize(t.Context())
	if diff := cmp.Diff(testIdentity(), identity, cmp.Comparer(func(a, b sgx.TargetInfo) bool { return a == b })); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	challenge := testChallenge()
	quoted, err := client.Quote(t.Context(), testReport(), challenge)
	if body := quoted.QEReport.Body; err != nil || [16]byte(body.ReportData[:]) != challenge.Nonce || body.MREnclave != challenge.Target.MREnclave {
		t.Errorf("challenged: %+v, %v", body, err)
	}
	_, err = client.Quote(t.Context(), testReport(wantLibraryError), nil)
	if _, ok := errors.AsType[*LibraryError](err); !ok || !errors.Is(err, quote3.NetworkError) || err.Error() != "quote: "+quote3.NetworkError.Error() {
		t.Errorf("got %v, want %v with its context", err, quote3.NetworkError)
	}
	_, err = client.Quote(t.Context(), testReport(wantFailure), nil)
	if failure, ok := errors.AsType[*FailureError](err); !ok || failure.Text != "no disk space" {
		t.Errorf("got %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error("worker, after its client was closed:", err)
	}
}

// A connection serves one request after the other, and ends with a request that is
// given up.
func TestConnections(t *testing.T) {
	client, cmd := start(t)
	for range 3 {
		if _, err := client.Initialize(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(client.idle) != 1 {
			t.Fatalf("%d idle connections, want 1", len(client.idle))
		}
	}
	first := client.idle[0]
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := client.Quote(ctx, testReport(wantHang), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if len(client.idle) != 0 {
		t.Error("the connection of a request that was given up is kept")
	}
	if _, err := first.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it is not closed: %v", err)
	}
	if _, err := client.Initialize(t.Context()); err != nil {
		t.Errorf("the next request: %v", err)
	}

	idle := client.idle[0]
	client.Close()
	client.release(first) // a request was still under way
	if _, err := idle.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an idle connection outlives its client: %v", err)
	}
	if len(client.idle) != 0 {
		t.Error("a closed client keeps connections")
	}
	cmd.Process.Kill() // the hanging request holds it
	cmd.Wait()
}

// A request says whether the worker that has ended had read it.
func TestEndedWorker(t *testing.T) {
	t.Run("gone", func(t *testing.T) {
		client, cmd := start(t)
		if _, err := client.Initialize(t.Context()); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		for _, connection := range []string{"idle", "new"} {
			if _, err := client.Initialize(t.Context()); !errors.Is(err, ErrUnread) {
				t.Errorf("%s connection: got %v, want %v", connection, err, ErrUnread)
			}
		}
	})
	// A process that is being killed still has its sockets open. One that is stopped
	// stays in that state.
	for _, connection := range []string{"idle", "new"} {
		t.Run("dying, "+connection+" connection", func(t *testing.T) {
			client, cmd := start(t)
			if _, err := client.Initialize(t.Context()); err != nil {
				t.Fatal(err)
			}
			if connection == "new" {
				client.idle = nil
			}
			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			var status syscall.WaitStatus
			if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
				t.Fatal(status, err)
			}
			conn, err := client.connect()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(appendRequest(nil, request{kind: kindInitialize})); err != nil {
				t.Fatal(err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			if _, err := readMessage(conn.in, maxReply); !errors.Is(linkError(t.Context(), err), ErrUnread) {
				t.Errorf("got %v, want %v", err, ErrUnread)
			}
		})
	}
	t.Run("with the request", func(t *testing.T) {
		client, cmd := start(t)
		if _, err := client.Quote(t.Context(), testReport(wantExit), nil); !errors.Is(err, ErrNoReply) {
			t.Errorf("got %v, want %v", err, ErrNoReply)
		}
		cmd.Wait()
	})
}

func TestInheritNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerMode+"=1", "GORACE=atexit_sleep_ms=0")
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "file descriptor 3 is not the helper's socket") {
		t.Errorf("%v: %s", err, output)
	}
}

// A connection ends without an error when the helper is done, or when the worker is
// asked to stop.
func TestConnectionEnds(t *testing.T) {
	for _, c := range []struct {
		name, send string
		stop       bool
		want       string // of the error; none if empty
	}{
		{"closed", "", false, ""},
		{"stopped", "", true, ""},
		{"half a length", "\x01\x00", false, "read request: unexpected EOF"},
		{"half a message", "\x02\x00\x00\x00a", false, "read request: unexpected EOF"},
		{"too long", "\xff\xff\xff\xff", false, "4294967295 bytes, more than"},
		{"no kind", "\x00\x00\x00\x00", false, "no kind"},
		{"unknown kind", "\x01\x00\x00\x00\x09", false, "unknown kind 9"},
		{"wrong size", "\x02\x00\x00\x00\x02a", false, "has 1 bytes, want 432"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ours, theirs := net.Pipe()
			result := make(chan error, 1)
			go func() { result <- newConn(theirs).serve(ctx, stub{}) }()
			if _, err := ours.Write([]byte(c.send)); err != nil {
				t.Fatal(err)
			}
			if c.stop {
				stop()
			} else {
				ours.Close()
			}
			err := <-result
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			ours.Close()
		})
	}
}

// Serve replies to what it has read before it returns, and does not wait for ever.
func TestServeDrains(t *testing.T) {
	for _, c := range []struct {
		name string
		held time.Duration
		want string
	}{
		{"in time", drainTimeout - time.Second, ""},
		{"too late", drainTimeout + time.Second, "requests are still being served after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var connections sync.WaitGroup
				connections.Go(func() { time.Sleep(c.held) })
				err := drain(&connections)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				connections.Wait()
			})
		})
	}
}

// A socket that carries no descriptor is not taken for the helper's.
func TestAcceptNoDescriptor(t *testing.T) {
	client, file, err := NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	socket, err := unixConn(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.socket.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	err = (&Listener{socket}).Serve(t.Context(), stub{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "accept connection: 0 control messages") {
		t.Errorf("got %v", err)
	}
}

// A worker that sends more than its reply is not asked again on that connection.
func TestTooMuch(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		in := newConn(theirs)
		if _, err := readMessage(in.in, maxRequest); err != nil {
			return
		}
		answer := appendReply(nil, kindInitialize, reply{identity: testIdentity()})
		fmt.Fprintf(theirs, "%s%s", answer, answer)
	}()
	_, err := newConn(ours).roundTrip(request{kind: kindInitialize})
	if _, ok := errors.AsType[*MessageError](err); !ok || !strings.Contains(err.Error(), "follow the reply") {
		t.Errorf("got %v", err)
	}
}
