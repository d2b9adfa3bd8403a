package upstream

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

func TestSizeIsCached(t *testing.T) {
	d := newDaemon(t)
	b, w := newBackend(t, d)
	expect := func(t *testing.T, when string, size, asked int) {
		t.Helper()
		if got, err := b.QuoteSize(t.Context()); err != nil || got != size {
			t.Errorf("%s: QuoteSize = %d, %v, want %d", when, got, err, size)
		}
		if n := w.take(aesm.KindGetQuoteSizeEx); n != asked {
			t.Errorf("%s: the daemon was asked for the size %d times, want %d", when, n, asked)
		}
	}
	real, _ := d.Backend.QuoteSize(t.Context())
	expect(t, "first", real, 1)
	expect(t, "second", real, 0)
	report := newReport(t, b)
	expect(t, "after InitQuote, which asks", real, 1)
	quote := func() (int, error) {
		quoted, err := b.Quote(t.Context(), report, nil)
		return len(quoted.Quote), err
	}
	if n, err := quote(); err != nil || n != real {
		t.Errorf("a quote of %d bytes, %v", n, err)
	}
	expect(t, "after a quote", real, 0)

	grown := real + 1000
	d.set(func() { d.size = grown })
	expect(t, "before it is noticed", real, 0)
	w.take(aesm.KindGetQuoteEx)
	if n, err := quote(); err != nil || n != grown {
		t.Errorf("a quote of %d bytes, %v; it has grown to %d", n, err, grown)
	}
	if n := w.take(aesm.KindGetQuoteEx); n != 2 {
		t.Errorf("a quote that had grown took %d requests", n)
	}
	expect(t, "after a quote that had grown, which asks", grown, 1)

	shrunk := real + 500
	d.set(func() { d.size = shrunk })
	if n, err := quote(); err != nil || n != shrunk {
		t.Errorf("a quote of %d bytes, %v; it has shrunk to %d", n, err, shrunk)
	}
	expect(t, "after a quote that had shrunk", shrunk, 0)

	d.set(func() { d.quoteErr = aesm.CodeAttKeyNotInitialized })
	if _, err := quote(); !errors.Is(err, aesm.CodeAttKeyNotInitialized) {
		t.Errorf("a quote with a lost key: %v", err)
	}
	expect(t, "after the key was lost", shrunk, 1)

	// InitQuote succeeds even if it does not get the size.
	d.set(func() { d.sizeErr = aesm.CodeNetwork })
	newReport(t, b)
	w.take(aesm.KindGetQuoteSizeEx)
	_, err := b.QuoteSize(t.Context())
	wantFailure(t, err, quoting.LayerNetwork, aesm.CodeNetwork)
	_, err = quote()
	wantFailure(t, err, quoting.LayerNetwork, aesm.CodeNetwork)
	if n := w.take(aesm.KindGetQuoteSizeEx); n != 2 {
		t.Errorf("asked for an unknown size %d times, want 2", n)
	}
}

// The second request for a size may fail.
func TestGrownSizeFails(t *testing.T) {
	log, _ := newLog()
	b := New("/run/aesm.socket", log)
	raw(b, func(kind aesm.Kind) []byte {
		if kind == aesm.KindGetQuoteEx {
			return []byte{5, 0, 0, 0, 0x8a, 1, 2, 8, byte(aesm.CodeParameter)}
		}
		return []byte{7, 0, 0, 0, 0x82, 1, 4, 8, byte(aesm.CodeAttKeyNotInitialized), 0x10, 0}
	})
	b.size.set(1000)
	_, err := b.Quote(t.Context(), sgx.Report{}, nil)
	wantFailure(t, err, quoting.LayerClient, aesm.CodeAttKeyNotInitialized)
}

func TestSizeIsForgottenWithARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := newLog()
		b := New("/run/aesm.socket", log)
		raw(b, func(aesm.Kind) []byte { return sizeReply(1000) })
		if _, err := b.QuoteSize(t.Context()); err != nil {
			t.Fatal(err)
		}
		refuseDial(b, syscall.ENOENT)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := b.Quote(ctx, sgx.Report{}, nil)
		wantFailure(t, err, quoting.LayerBackend, aesm.CodeServiceUnavailable)
		raw(b, func(aesm.Kind) []byte { return sizeReply(7000) })
		if size, err := b.QuoteSize(t.Context()); err != nil || size != 7000 {
			t.Errorf("QuoteSize = %d, %v", size, err)
		}
		logged.expect(t, `level=WARN msg="upstream does not answer"`, `level=INFO msg="upstream is back"`)
	})
}

// However many callers need the size, the daemon is asked once, and no caller waits
// beyond its own deadline.
func TestSizeIsAskedOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply []byte
		code  aesm.Code
	}{
		{"answered", sizeReply(4734), aesm.CodeSuccess},
		{"refused", []byte{7, 0, 0, 0, 0x82, 1, 4, 8, byte(aesm.CodeNoPlatformCertData), 0x10, 0}, aesm.CodeNoPlatformCertData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, _ := newLog()
				b := New("/run/aesm.socket", log)
				raw(b, func(aesm.Kind) []byte {
					time.Sleep(5 * time.Second) // behind the quotes of others
					return tt.reply
				})
				w := watch(b)
				var callers sync.WaitGroup
				for range 100 {
					callers.Go(func() {
						size, err := b.QuoteSize(t.Context())
						if tt.code != aesm.CodeSuccess {
							wantFailure(t, err, quoting.LayerOf(tt.code), tt.code)
						} else if err != nil || size != 4734 {
							t.Errorf("QuoteSize = %d, %v", size, err)
						}
					})
				}
				callers.Go(func() {
					time.Sleep(time.Second)
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					began := time.Now()
					_, err := b.QuoteSize(ctx)
					wantFailure(t, err, quoting.LayerBackend, aesm.CodeBusy)
					if waited := time.Since(began); waited != time.Second {
						t.Errorf("a caller with a deadline of one second waited for %s", waited)
					}
				})
				callers.Wait()
				if n := w.take(aesm.KindGetQuoteSizeEx); n != 1 {
					t.Errorf("the daemon was asked %d times", n)
				}
			})
		})
	}
}

// If the caller that asks for all gives up, another one asks.
func TestSizeOutlivesTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := newLog()
		b := New("/run/aesm.socket", log)
		raw(b, func(aesm.Kind) []byte {
			time.Sleep(5 * time.Second)
			return sizeReply(4734)
		})
		w := watch(b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var callers sync.WaitGroup
		callers.Go(func() {
			_, err := b.QuoteSize(ctx)
			wantFailure(t, err, quoting.LayerBackend, aesm.CodeBusy)
		})
		synctest.Wait()
		for range 10 {
			callers.Go(func() {
				if size, err := b.QuoteSize(t.Context()); err != nil || size != 4734 {
					t.Errorf("QuoteSize = %d, %v", size, err)
				}
			})
		}
		callers.Wait()
		if n := w.take(aesm.KindGetQuoteSizeEx); n != 2 {
			t.Errorf("the daemon was asked %d times", n)
		}
	})
}
