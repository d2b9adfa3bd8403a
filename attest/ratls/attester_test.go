package ratls_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// rotations records what an Attester reports.
type rotations chan error

func (r rotations) rotated(c *x509.Certificate, err error) {
	if (c == nil) == (err == nil) {
		panic("want a certificate or an error")
	}
	r <- err
}

// The certificate is replaced at two thirds of its lifetime, with a new key.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))) // of the bubble: the simulated root is younger
		p := newPlatform(t, quote.SGX)
		rotated := make(rotations)
		a, err := ratls.NewAttester(t.Context(), ratls.AttesterConfig{Quote: p.Quote, Lifetime: 3 * time.Hour, Rotated: rotated.rotated})
		if err != nil {
			t.Fatal(err)
		}
		first, start := a.Certificate(), time.Now()
		stop := run(t, a)
		for i := range 3 {
			if err := <-rotated; err != nil {
				t.Fatal(err)
			}
			if since, want := time.Since(start), time.Duration(i+1)*2*time.Hour; since != want {
				t.Errorf("rotation %d after %v, want %v", i+1, since, want)
			}
		}
		last, err := a.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(first.Leaf.RawSubjectPublicKeyInfo, last.Leaf.RawSubjectPublicKeyInfo) {
			t.Error("the key has not changed")
		}
		peer, err := p.verifier(t).Verify(t.Context(), last.Leaf)
		if err != nil || peer.Format != ratls.FormatTagged {
			t.Errorf("%v", err)
		}
		stop()
	})
}

// If no certificate can be made, the former one is in use until it expires, and the next attempt
// comes long before.
func TestRotationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, quote.SGX)
		var broken atomic.Pointer[error]
		rotated := make(rotations)
		a, err := ratls.NewAttester(t.Context(), ratls.AttesterConfig{
			Quote: func(ctx context.Context, data sgx.ReportData) ([]byte, error) {
				if err := broken.Load(); err != nil {
					return nil, *err
				}
				return p.Quote(ctx, data)
			},
			Lifetime: time.Hour, Rotated: rotated.rotated,
		})
		if err != nil {
			t.Fatal(err)
		}
		away := errors.New("the daemon is away")
		broken.Store(&away)
		first := a.Certificate()
		stop := run(t, a)
		for range 19 {
			if err := <-rotated; !errors.Is(err, away) {
				t.Fatal(err)
			}
			if got, err := a.GetCertificate(nil); err != nil || got != first {
				t.Fatal(err)
			}
		}
		<-rotated
		<-rotated
		time.Sleep(time.Second) // of the bubble
		if _, err := a.GetClientCertificate(nil); !errors.Is(err, away) || !strings.Contains(err.Error(), "expired at") {
			t.Errorf("%v", err)
		}
		broken.Store(nil)
		if err := <-rotated; err != nil {
			t.Fatal(err)
		}
		if got, err := a.GetCertificate(nil); err != nil || got == first {
			t.Error(err)
		}
		stop()
	})
}

// A quote that never comes does not keep the certificate from being replaced.
func TestRotationHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, quote.SGX)
		var hangs atomic.Bool
		rotated := make(rotations)
		a, err := ratls.NewAttester(t.Context(), ratls.AttesterConfig{
			Quote: func(ctx context.Context, data sgx.ReportData) ([]byte, error) {
				if hangs.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return p.Quote(ctx, data)
			},
			Lifetime: time.Hour, Rotated: rotated.rotated,
		})
		if err != nil {
			t.Fatal(err)
		}
		hangs.Store(true)
		start, stop := time.Now(), run(t, a)
		if err := <-rotated; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		hangs.Store(false)
		if err := <-rotated; err != nil {
			t.Error(err)
		}
		if since := time.Since(start); since >= time.Hour {
			t.Errorf("replaced after %v", since)
		}
		stop()
	})
}

// run runs an Attester until the function that it returns is called.
func run(t *testing.T, a *ratls.Attester) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// Without Run, an expired certificate is not shown.
func TestExpiredWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attester(t, newPlatform(t, quote.SGX))
		time.Sleep(ratls.DefaultLifetime + time.Second)
		if _, err := a.GetCertificate(nil); err == nil || !strings.Contains(err.Error(), "Attester.Run replaces it") {
			t.Error(err)
		}
	})
}

func TestNewAttester(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	failed := errors.New("no daemon")
	ok := func(context.Context, sgx.ReportData) ([]byte, error) { return p.bound(t, []byte("other")), nil }
	for _, c := range []struct {
		name   string
		config ratls.AttesterConfig
		want   string
	}{
		{"nothing", ratls.AttesterConfig{}, "Quote is not set"},
		{"a negative lifetime", ratls.AttesterConfig{Quote: p.Quote, Lifetime: -1}, "Lifetime is -1ns"},
		{"no quote", ratls.AttesterConfig{Quote: func(context.Context, sgx.ReportData) ([]byte, error) { return nil, failed }}, "get a quote: no daemon"},
		{"other report data", ratls.AttesterConfig{Quote: ok}, "has the report data"},
		{"no quote at all", ratls.AttesterConfig{Quote: func(context.Context, sgx.ReportData) ([]byte, error) { return []byte("quote"), nil }}, "the quote that was made: "},
	} {
		if a, err := ratls.NewAttester(t.Context(), c.config); a != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}

	a, err := ratls.NewAttester(t.Context(), ratls.AttesterConfig{Quote: newPlatform(t, quote.TDX).Quote, Name: "enclave", DNSNames: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := a.Certificate().Leaf
	if leaf.Subject.CommonName != "enclave" || leaf.VerifyHostname("a.example") != nil || len(leaf.UnhandledCriticalExtensions) > 0 {
		t.Errorf("%+v", leaf)
	}
	if v := newPlatform(t, quote.TDX).verifier(t); true {
		v.Policy.TrustDomain = &attest.TDPolicy{Any: true}
		if _, err := v.Verify(t.Context(), leaf); err != nil {
			t.Error(err)
		}
	}
}
