package pcs

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
)

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   func(w http.ResponseWriter, r *http.Request) bool
		change   func(*service)
		family   Family
		requests int // for one part; 0 is not checked
		want     string
	}{
		{"not found", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }, nil, family, 0, "no collateral for these platforms"},
		{"unknown to the PCCS", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(461); return true }, nil, family, 0, "platform not registered with the PCCS"},
		{"access denied", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true }, nil, family, 0, "access denied"},
		{"too many requests", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/tcb") {
				return false
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return true
		}, nil, family, 3, "429"},
		{"cut off", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("x"))
			return true
		}, nil, family, 0, "unexpected EOF"},
		{"endless", func(w http.ResponseWriter, r *http.Request) bool {
			for range 5 {
				w.Write(make([]byte, 1<<20))
			}
			return true
		}, nil, family, 0, "more than 1 MiB"},
		{"no chain", nil, func(s *service) { s.tcbChain = "X" }, family, 0, "no header TCB-Info-Issuer-Chain"},
		{"not JSON", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/qe/identity") {
				w.Header().Set("SGX-Enclave-Identity-Issuer-Chain", "x")
				w.Write([]byte("<html>"))
				return true
			}
			return false
		}, nil, family, 0, "the QE identity: invalid character"},
		{"not a CRL", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/rootcacrl") {
				w.Write([]byte("<html>"))
				return true
			}
			return false
		}, nil, family, 0, "neither DER nor PEM"},
		{"modified", nil, func(s *service) { s.collateral.QEIdentitySignature[0] ^= 1 }, family, 0, "signature verification failed"},
		{"another family", nil, nil, Family{FMSPC: "00906ED50000", CA: ProcessorCA}, 0, "not for SGX, FMSPC 00906ED50000"},
		{"another CA", nil, nil, Family{FMSPC: "005A1D000000", CA: PlatformCA}, 0, "not for SGX, FMSPC 005A1D000000, platform CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t)
				s.first(c.before)
				if c.change != nil {
					c.change(s)
				}
				client := s.client(t, pccs)
				client.Dir = newDir(t)
				b, err := client.Collateral(t.Context(), c.family)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%+v, %v; want %q", b, err, c.want)
				}
				n := 0
				for _, r := range s.take() {
					if strings.Contains(r, "/tcb?") {
						n++
					}
				}
				if c.requests > 0 && n != c.requests {
					t.Errorf("%d requests, want %d", n, c.requests)
				}
				if files, _ := os.ReadDir(client.Dir); len(files) > 0 {
					t.Errorf("cached %v", files)
				}
			})
		})
	}
}

// A service that recovers between two attempts is no failure.
func TestRecovery(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		var failed sync.Map
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if _, twice := failed.LoadOrStore(r.URL.RequestURI(), true); !twice {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			return false
		})
		if _, err := s.client(t, pccs).Collateral(t.Context(), family); err != nil {
			t.Error(err)
		}
	})
}

// Concurrent calls share the requests. One whose context ends returns at once.
func TestConcurrentCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		release := make(chan bool)
		s.first(func(http.ResponseWriter, *http.Request) bool { <-release; return false })
		client := s.client(t, pccs)
		ctx, cancel := context.WithCancel(t.Context())
		impatient := make(chan error, 1)
		go func() {
			_, err := client.Collateral(ctx, family)
			impatient <- err
		}()
		var others sync.WaitGroup
		for range 8 {
			others.Go(func() {
				if _, err := client.Collateral(t.Context(), family); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // until all of them wait for the service
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(release)
		others.Wait()
		if n := len(s.take()); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
	})
}

// Each attempt has a time limit.
func TestTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		s.first(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		client := s.client(t, pccs)
		client.Attempts = 2
		start := time.Now()
		if _, err := client.Collateral(t.Context(), family); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took < 21*time.Second || took > 22*time.Second { // 10 s, 1 to 1.5 s, 10 s
			t.Errorf("it took %s", took)
		}
	})
}

// The pauses between attempts, by the kind of failure.
func TestPauses(t *testing.T) {
	for _, c := range []struct {
		name     string
		err      error
		min, max time.Duration // of the first pause; 0 for no second attempt
	}{
		{"no network", errors.New("no network"), time.Second, 1500 * time.Millisecond},
		{"500", &StatusError{Status: 500}, time.Second, 1500 * time.Millisecond},
		{"429 with Retry-After", &StatusError{Status: 429, RetryAfter: 10 * time.Second}, 10 * time.Second, 10 * time.Second},
		{"429 with a long Retry-After", &StatusError{Status: 429, RetryAfter: time.Hour}, maxPause, maxPause},
		{"404", &StatusError{Status: 404}, 0, 0},
		{"untrusted server", &tls.CertificateVerificationError{}, 0, 0},
	} {
		p := newPacing()
		err := p.classify(c.err)
		if _, permanent := errors.AsType[*backoff.PermanentError](err); permanent != (c.max == 0) || !errors.Is(err, c.err) {
			t.Errorf("%s: %#v", c.name, err)
		}
		if pause := p.NextBackOff(); c.max > 0 && (pause < c.min || pause > c.max) {
			t.Errorf("%s: a pause of %s", c.name, pause)
		}
	}
	p := newPacing()
	p.NextBackOff()
	if second := p.NextBackOff(); second < 2*time.Second || second > 3*time.Second {
		t.Errorf("a second pause of %s", second)
	}
	for range 20 {
		if pause := p.NextBackOff(); pause > maxPause {
			t.Errorf("a pause of %s", pause)
		}
	}
}
