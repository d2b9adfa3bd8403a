package upstream

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// newBackend returns the backend of a running daemon, and the wire between them.
func newBackend(t *testing.T, d *daemon) (*Backend, *wire) {
	t.Helper()
	log, logged := newLog()
	path := socketPath(t)
	serve(t, path, d)
	t.Cleanup(func() { logged.expect(t) }) // nothing
	b := New(path, log)
	return b, watch(b)
}

// newReport returns the report of an enclave for the quoting enclave of a simulated
// backend.
func newReport(t *testing.T, b quoting.Backend) sgx.Report {
	t.Helper()
	ready, err := b.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{MREnclave: sgx.Measurement{1}, ReportData: sgx.ReportData{2}}, ready.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestQuote(t *testing.T) {
	d := newDaemon(t)
	b, _ := newBackend(t, d)
	ready, err := b.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := d.Backend.InitQuote(t.Context()); ready != want {
		t.Errorf("InitQuote = %+v, want %+v", ready, want)
	}
	report := newReport(t, b)
	me := sgx.TargetInfo{MREnclave: report.Body.MREnclave, Attributes: report.Body.Attributes}
	challenge := &aesm.Challenge{Nonce: [aesm.NonceSize]byte{1, 2, 3}, Target: me}
	quoted, err := b.Quote(t.Context(), report, challenge)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := b.QuoteSize(t.Context()); err != nil || size != len(quoted.Quote) {
		t.Errorf("QuoteSize = %d, %v for a quote of %d bytes", size, err, len(quoted.Quote))
	}
	if q, err := quote.Parse(quoted.Quote); err != nil || *q.Enclave != report.Body {
		t.Errorf("the quote is not of the enclave: %v", err)
	}
	if err := simulation.DefaultCPU().Verify(quoted.QEReport, me); err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256(append(challenge.Nonce[:], quoted.Quote...))
	if got := quoted.QEReport.Body.ReportData[:len(sum)]; !cmp.Equal(got, sum[:]) {
		t.Errorf("the answer to the challenge is %x, want %x", got, sum)
	}
}

// silent is a daemon that does not describe its backend, as Intel's.
type silent struct{ *daemon }

func (s silent) InitQuote(ctx context.Context, caller aesm.Caller, key aesm.KeyID) (aesm.Initialized, error) {
	ready, err := s.daemon.InitQuote(ctx, caller, key)
	ready.Backend = aesm.Backend{}
	return ready, err
}

// The description is that of the daemon, if it has one.
func TestDescription(t *testing.T) {
	d := newDaemon(t)
	log, _ := newLog()
	path := socketPath(t)
	serve(t, path, silent{d})
	ready, err := New(path, log).InitQuote(t.Context())
	if want := (aesm.Backend{Kind: "upstream"}); err != nil || ready.Backend != want {
		t.Errorf("%+v, %v, want %+v", ready.Backend, err, want)
	}
	b, _ := newBackend(t, d)
	if ready, err := b.InitQuote(t.Context()); err != nil || ready.Backend.Kind != "simulated" || !ready.Backend.Certified {
		t.Errorf("%+v, %v", ready.Backend, err)
	}
}

// Clients do not notice that the daemon restarts.
func TestRestart(t *testing.T) {
	t.Run("while nobody asks", func(t *testing.T) {
		log, logged := newLog()
		b := New(socketPath(t), log)
		stop := serve(t, b.client.Socket, newDaemon(t))
		report := newReport(t, b)
		stop()
		serve(t, b.client.Socket, newDaemon(t))
		if _, err := b.Quote(t.Context(), report, nil); err != nil {
			t.Error(err)
		}
		logged.expect(t)
	})
	for name, leave := range map[string]func(t *testing.T, path string){
		"no socket":      func(*testing.T, string) {},
		"a stale socket": leaveStale,
	} {
		t.Run(name, func(t *testing.T) {
			log, logged := newLog()
			b := New(socketPath(t), log)
			stop := serve(t, b.client.Socket, newDaemon(t))
			report := newReport(t, b)
			stop()
			leave(t, b.client.Socket)

			result := make(chan error)
			go func() {
				_, err := b.Quote(t.Context(), report, nil)
				result <- err
			}()
			if got := <-logged; got == "" { // the backend has noticed
				t.Error("an empty line is logged")
			}
			serve(t, b.client.Socket, newDaemon(t))
			if err := <-result; err != nil {
				t.Error(err)
			}
			logged.expect(t, `level=INFO msg="upstream is back" socket=`+b.client.Socket+" silent=")
		})
	}
	t.Run("in the middle", func(t *testing.T) {
		log, logged := newLog()
		b := New(socketPath(t), log)
		stop := serve(t, b.client.Socket, newDaemon(t))
		report := newReport(t, b)
		stop()
		dying, err := net.Listen("unix", b.client.Socket)
		if err != nil {
			t.Fatal(err)
		}

		result := make(chan error)
		go func() {
			_, err := b.Quote(t.Context(), report, nil)
			result <- err
		}()
		conn, err := dying.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if request, err := readFrame(conn); err != nil || kindOf(request) != aesm.KindGetQuoteEx {
			t.Errorf("the daemon got %x, %v", request, err)
		}
		dying.Close()
		conn.Close()
		serve(t, b.client.Socket, newDaemon(t))
		if err := <-result; err != nil {
			t.Error(err)
		}
		logged.expect(t, `level=WARN msg="upstream does not answer" socket=`+b.client.Socket, `level=INFO msg="upstream is back"`)
	})
}

// leaveStale leaves a stale socket file, as a killed daemon does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// Whatever is wrong with the daemon, the client gets its error in time, and the error
// says what is wrong.
func TestNoAnswer(t *testing.T) {
	const (
		deadline = quoting.Deadline
		early    = quoting.Deadline - retryPause // the caller still waits
	)
	for _, tt := range []struct {
		name   string
		daemon func(*Backend)
		code   aesm.Code
		after  time.Duration
		text   string
	}{
		{"no socket", func(b *Backend) { refuseDial(b, syscall.ENOENT) }, aesm.CodeServiceUnavailable, early,
			"backend: no daemon is listening on /run/aesm.socket: connect: no such file or directory"},
		{"a stale socket", func(b *Backend) { refuseDial(b, syscall.ECONNREFUSED) }, aesm.CodeServiceUnavailable, early,
			"backend: no daemon is listening on /run/aesm.socket: connect: connection refused"},
		{"no permission", func(b *Backend) { refuseDial(b, syscall.EACCES) }, aesm.CodeServiceUnavailable, 0,
			"backend: the helper has no permission to connect to /run/aesm.socket: connect: permission denied"},
		{"no file descriptor", func(b *Backend) { refuseDial(b, syscall.EMFILE) }, aesm.CodeServiceUnavailable, 0,
			"backend: GetQuoteSizeEx to /run/aesm.socket: connect: too many open files"},
		{"a full backlog", func(b *Backend) { refuseDial(b, syscall.EAGAIN) }, aesm.CodeBusy, deadline,
			"backend: the daemon behind /run/aesm.socket has not answered GetQuoteSizeEx within 10s: context deadline exceeded"},
		{"closes", func(b *Backend) { raw(b, func(aesm.Kind) []byte { return nil }) }, aesm.CodeServiceUnavailable, retryPause,
			"backend: GetQuoteSizeEx to /run/aesm.socket: the daemon closed the connection without a whole reply"},
		{"closes in the middle", func(b *Backend) { raw(b, func(aesm.Kind) []byte { return sizeReply(1000)[:7] }) }, aesm.CodeServiceUnavailable, retryPause,
			"backend: GetQuoteSizeEx to /run/aesm.socket: the daemon closed the connection without a whole reply"},
		{"hangs", hang, aesm.CodeBusy, deadline,
			"backend: the daemon behind /run/aesm.socket has not answered GetQuoteSizeEx within 10s: context deadline exceeded"},
		{"garbage", func(b *Backend) { raw(b, func(aesm.Kind) []byte { return []byte("HTTP/1.1 400 Bad Request") }) }, aesm.CodeUnexpected, 0,
			"backend: aesm: GetQuoteSizeEx: /run/aesm.socket: bad reply: its header announces 1347703880 bytes, the limit is 69632: " +
				"is this an AESM daemon, and of the right version?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, _ := newLog()
				b := New("/run/aesm.socket", log)
				tt.daemon(b)
				ctx, cancel := context.WithTimeout(t.Context(), quoting.Deadline)
				defer cancel()
				began := time.Now()
				_, err := b.QuoteSize(ctx)
				if waited := time.Since(began); waited != tt.after {
					t.Errorf("failed after %s, want %s", waited, tt.after)
				}
				wantFailure(t, err, quoting.LayerBackend, tt.code)
				if err.Error() != tt.text {
					t.Errorf("got %q, want %q", err, tt.text)
				}
			})
		})
	}
}

// Each method observes the deadline of its context, and returns a Failure.
func TestDeadline(t *testing.T) {
	for name, request := range map[string]func(context.Context, *Backend) error{
		"InitQuote": func(ctx context.Context, b *Backend) error { _, err := b.InitQuote(ctx); return err },
		"QuoteSize": func(ctx context.Context, b *Backend) error { _, err := b.QuoteSize(ctx); return err },
		"Quote":     func(ctx context.Context, b *Backend) error { _, err := b.Quote(ctx, sgx.Report{}, nil); return err },
		"Quote of known size": func(ctx context.Context, b *Backend) error {
			b.size.set(1000)
			_, err := b.Quote(ctx, sgx.Report{}, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logged := newLog()
				b := New("/run/aesm.socket", log)
				hang(b)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				began := time.Now()
				err := request(ctx, b)
				if waited := time.Since(began); waited != 3*time.Second {
					t.Errorf("failed after %s", waited)
				}
				wantFailure(t, err, quoting.LayerBackend, aesm.CodeBusy)
				logged.expect(t, `level=WARN msg="upstream does not answer" socket=/run/aesm.socket error="context deadline exceeded"`)
			})
		})
	}
}

func TestCanceled(t *testing.T) {
	for _, tt := range []struct {
		name   string
		daemon func(*Backend)
		code   aesm.Code
		logged []string
	}{
		{"while it hangs, which is not the daemon's fault", hang, aesm.CodeServiceStopped, nil},
		{"while it is not running", func(b *Backend) { refuseDial(b, syscall.ENOENT) }, aesm.CodeServiceUnavailable,
			[]string{`level=WARN msg="upstream does not answer"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logged := newLog()
				b := New("/run/aesm.socket", log)
				tt.daemon(b)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(5*time.Second+retryPause/2, cancel)
				began := time.Now()
				_, err := b.QuoteSize(ctx)
				if waited := time.Since(began); waited != 5*time.Second+retryPause/2 {
					t.Errorf("failed after %s", waited)
				}
				wantFailure(t, err, quoting.LayerBackend, tt.code)
				logged.expect(t, tt.logged...)
			})
		})
	}
}

// The daemon's code reaches the client, and its layer the operator.
func TestRefusals(t *testing.T) {
	layers := map[aesm.Code]quoting.Layer{
		aesm.CodeAttKeyNotInitialized:     quoting.LayerClient,
		aesm.CodeErrorReport:              quoting.LayerClient,
		aesm.CodeInvalidReport:            quoting.LayerClient,
		aesm.CodeUnableToGenerateQEReport: quoting.LayerClient,
		aesm.CodeNetwork:                  quoting.LayerNetwork,
		aesm.CodeNetworkBusy:              quoting.LayerNetwork,
		aesm.CodeProxySettingAssist:       quoting.LayerNetwork,
		aesm.CodeMsg:                      quoting.LayerNetwork,
		aesm.CodePlatformLibUnavailable:   quoting.LayerProvider,
		aesm.CodeAttKeyCertDataInvalid:    quoting.LayerProvider,
		aesm.CodeNoPlatformCertData:       quoting.LayerProvider,
	}
	d := newDaemon(t)
	b, w := newBackend(t, d)
	report := newReport(t, b)
	d.set(func() { d.quoteErr = aesm.CodeInvalidReport })
	_, err := b.Quote(t.Context(), report, nil)
	if want := fmt.Sprintf("client: the daemon behind %s answered GetQuoteEx with INVALID_REPORT (47)", b.client.Socket); err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	// Every code, and one that does not exist.
	for code := aesm.CodeUnexpected; code <= aesm.CodeConfigUnsupported+1; code++ {
		d.set(func() { d.quoteErr = code })
		w.take(aesm.KindGetQuoteEx)
		_, err = b.Quote(t.Context(), report, nil)
		layer, ok := layers[code]
		if !ok {
			layer = quoting.LayerBackend
		}
		wantFailure(t, err, layer, code)
		if n := w.take(aesm.KindGetQuoteEx); n != 1 {
			t.Errorf("%s: the daemon was asked %d times", code, n)
		}
	}
}

// Clients have the ID of Intel's key built in. If the daemon has another key, the
// backend finds out which, and again when it changes.
func TestKey(t *testing.T) {
	debugQE := aesm.ECDSAKeyID(sgx.Measurement{0xe4, 0xbd})
	var epid aesm.KeyID

	d := newDaemon(t)
	b, w := newBackend(t, d)
	report := newReport(t, b)
	for _, tt := range []struct {
		name     string
		key      aesm.KeyID
		selected int // how often the daemon is asked for its key
		code     aesm.Code
	}{
		{"Intel's", aesm.IntelQE3KeyID(), 0, 0},
		{"that of a debug QE", debugQE, 1, 0},
		{"that again", debugQE, 0, 0},
		{"an EPID key", epid, 1, aesm.CodeUnsupportedAttKeyID},
		{"the key of the debug QE, which is cached", debugQE, 0, 0},
		{"Intel's again", aesm.IntelQE3KeyID(), 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.set(func() { d.key = tt.key })
			_, err := b.Quote(t.Context(), report, nil)
			if tt.code != 0 {
				wantFailure(t, err, quoting.LayerBackend, tt.code)
			} else if err != nil {
				t.Error(err)
			}
			if n := w.take(aesm.KindSelectAttKeyID); n != tt.selected {
				t.Errorf("the daemon was asked for its key %d times, want %d", n, tt.selected)
			}
		})
	}
}

func TestSelectFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := newLog()
		b := New("/run/aesm.socket", log)
		raw(b, func(kind aesm.Kind) []byte {
			if kind == aesm.KindSelectAttKeyID {
				return nil
			}
			return []byte{7, 0, 0, 0, 0x82, 1, 4, 8, byte(aesm.CodeUnsupportedAttKeyID), 0x10, 0}
		})
		ctx, cancel := context.WithTimeout(t.Context(), quoting.Deadline)
		defer cancel()
		_, err := b.QuoteSize(ctx)
		wantFailure(t, err, quoting.LayerBackend, aesm.CodeServiceUnavailable)
	})
}
