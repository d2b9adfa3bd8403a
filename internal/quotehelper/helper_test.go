package quotehelper

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

func TestServes(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "msg=quote request=GetQuoteEx peer.") // with the caller
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	const want = `
# HELP sgx_quote_helper_connections Open connections.
# TYPE sgx_quote_helper_connections gauge
sgx_quote_helper_connections 0
# HELP sgx_quote_helper_requests_total Requests answered, by kind of request and AESM code of the answer.
# TYPE sgx_quote_helper_requests_total counter
sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteEx"} 1
sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteSizeEx"} 1
sgx_quote_helper_requests_total{code="SUCCESS",request="InitQuoteEx"} 2
sgx_quote_helper_requests_total{code="SUCCESS",request="SelectAttKeyID"} 1
`
	if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(want), "sgx_quote_helper_connections", "sgx_quote_helper_requests_total"); err != nil {
		t.Error(err)
	}
}

// A stopping helper finishes the connections made before, and removes its socket.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	var conns []net.Conn
	for range 16 { // some accepted by now, some not
		conns = append(conns, dial(t, socket))
	}
	r.stop()
	var asking sync.WaitGroup
	for i, conn := range conns {
		asking.Go(func() { // at the same time: a stopping helper does not wait for long
			if err := askOn(t.Context(), conn); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	asking.Wait()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A quote in progress is finished, whatever happens to the socket.
func TestQuoteInProgress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ends bool // the helper does
		what func(t *testing.T, r *running, socket string)
	}{
		{"the helper stops", true, func(t *testing.T, r *running, socket string) {
			r.stop()
			late := time.After(patience)
			for {
				if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
					return // it is stopping
				}
				select {
				case <-late:
					t.Fatal("the socket is still there")
				case <-time.After(time.Millisecond):
				}
			}
		}},
		{"another daemon takes over", true, func(t *testing.T, r *running, socket string) {
			successor, err := aesm.TakeOver(socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { successor.Close() })
			r.expect(t, "another daemon has taken over the socket")
		}},
		{"the file is removed", false, func(t *testing.T, r *running, socket string) {
			if err := os.Remove(socket); err != nil {
				t.Fatal(err)
			}
			r.expect(t, "serving quotes")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket, backend := socketPath(t), newBlocking(t)
			r := start(t, &Helper{Backend: backend, Socket: socket})
			r.expect(t, "serving quotes")
			got := make(chan error, 1)
			go func() { got <- getQuote(context.Background(), socket) }()
			<-backend.called
			tt.what(t, r, socket)
			select {
			case err := <-got:
				t.Fatalf("answered before the quote was made: %v", err)
			case <-r.ended:
				t.Fatal("the helper ended before it made the quote")
			default:
			}
			close(backend.release)
			if err := <-got; err != nil {
				t.Error(err)
			}
			if tt.ends {
				if err := r.end(t); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A helper with another quoting enclave answers reports that were made before it
// started with the code on which clients fetch the target again.
func TestReportFromBefore(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	backend := newBackend(t, "node")
	first := start(t, &Helper{Backend: backend, Socket: socket})
	first.expect(t, "serving quotes")
	client, key := aesm.Client{Socket: socket}, aesm.IntelQE3KeyID()
	if _, err := client.InitQuote(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		backend quoting.Backend
		want    aesm.Code
	}{
		{"the same quoting enclave", backend, aesm.CodeInvalidReport},
		{"another quoting enclave", struct{ quoting.Backend }{renamed{backend}}, aesm.CodeAttKeyNotInitialized}, // which is no Reporter
		{"the first one again", backend, aesm.CodeAttKeyNotInitialized},
	} {
		first.stop()
		if err := first.end(t); err != nil {
			t.Error(err)
		}
		first = start(t, &Helper{Backend: tt.backend, Socket: socket})
		first.expect(t, "serving quotes")
		size, err := client.QuoteSize(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.GetQuote(t.Context(), key, sgx.Report{}, size, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

// script is a backend whose InitQuote returns one error after the other, and the
// last one again and again.
type script struct {
	quoting.Backend
	start time.Time
	takes time.Duration
	errs  []error
	times []int // of the calls, in seconds since start
}

func (s *script) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	err := s.errs[min(len(s.times), len(s.errs)-1)]
	s.times = append(s.times, int(time.Since(s.start).Seconds()))
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(s.takes):
	}
	if err != nil {
		return aesm.Initialized{}, err
	}
	return s.Backend.InitQuote(ctx)
}
