package pcs

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var issued = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// inBubble runs a test in a bubble, an hour after the collateral was issued by the bubble's clock.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(issued.Add(time.Hour)))
		f(t)
	})
}

// service is a service with the collateral of simulated platforms. Its connections are in memory,
// so that the bubble's clock advances while nobody serves.
type service struct {
	listener   pipeListener
	collateral *attest.Collateral
	hexCRLs    bool   // as a PCCS has them
	tcbChain   string // the name of a header
	header     http.Header

	mu       sync.Mutex
	requests []string
	// before reports whether it has responded itself.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newService(t *testing.T) *service {
	t.Helper()
	collateral, err := attesttest.NewCollateral(issued)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{
		listener: make(pipeListener), collateral: collateral,
		tcbChain: "TCB-Info-Issuer-Chain", header: http.Header{"Cache-Control": {"max-age=3600"}},
	}
	server := http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(s.listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return s
}

// pipeListener is a listener whose connections are pipes. It is closed once.
type pipeListener chan net.Conn

func (l pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l pipeListener) Accept() (net.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error { close(l); return nil }

func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.RequestURI())
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	for name, values := range s.header {
		w.Header()[name] = values
	}
	files := attesttest.Files(s.collateral)
	crl := func(name string) {
		if s.hexCRLs {
			fmt.Fprintf(w, "%x", files[name])
			return
		}
		w.Write(files[name])
	}
	switch path := strings.TrimPrefix(r.URL.Path, basePath); {
	case path == "rootcacrl", path == "pckcrl" && r.FormValue("uri") == intelRootCRL:
		crl("root_ca_crl.der")
	case path == "pckcrl":
		w.Header().Set("SGX-PCK-CRL-Issuer-Chain", url.PathEscape(s.collateral.PCKCRLIssuerChain))
		crl("pck_crl.der")
	case path == "tcb":
		w.Header().Set(s.tcbChain, url.PathEscape(s.collateral.TCBInfoIssuerChain))
		w.Write(files["tcb_info.json"])
	case path == "qe/identity":
		w.Header().Set("SGX-Enclave-Identity-Issuer-Chain", url.PathEscape(s.collateral.QEIdentityIssuerChain))
		w.Write(files["qe_identity.json"])
	default:
		http.NotFound(w, r)
	}
}

// first sets before.
func (s *service) first(before func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *service) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.requests = nil
	slices.Sort(requests)
	return requests
}

func root(t testing.TB) attest.Root {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// client returns a client of the service.
func (s *service) client(t *testing.T, k kind) *Client {
	t.Helper()
	service, err := at(k, "http://pccs.example")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: s.listener.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{Service: service, Roots: []attest.Root{root(t)}, HTTP: &http.Client{Transport: transport}}
}

var family = Family{"005A1D000000", ProcessorCA}

// Services of all kinds have the same collateral, in forms of their own.
func TestServices(t *testing.T) {
	for _, c := range []struct {
		name     string
		kind     kind
		hex      bool
		chain    string
		requests []string
	}{
		{"PCCS", pccs, true, "SGX-TCB-Info-Issuer-Chain", []string{
			basePath + "pckcrl?ca=processor&encoding=der", basePath + "qe/identity", basePath + "rootcacrl", basePath + "tcb?fmspc=005A1D000000"}},
		{"Azure", azure, false, "SGX-TCB-Info-Issuer-Chain", []string{
			basePath + "pckcrl?api-version=2018-10-01-preview&uri=" + url.QueryEscape(intelRootCRL),
			basePath + "pckcrl?api-version=2018-10-01-preview&uri=" + url.QueryEscape("https://api.trustedservices.intel.com"+basePath+"pckcrl?ca=processor"),
			basePath + "qe/identity", basePath + "tcb?fmspc=005A1D000000"}},
		{"PCCS with Intel's headers", pccs, false, "TCB-Info-Issuer-Chain", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t)
				s.hexCRLs, s.tcbChain = c.hex, c.chain
				client := s.client(t, c.kind)
				b, err := client.Collateral(t.Context(), family)
				if err != nil {
					t.Fatal(err)
				}
				if b.TCBInfo != s.collateral.TCBInfo || b.PCKCRL.String() != s.collateral.PCKCRL.String() || !strings.Contains(string(simulation.RootPEM()), strings.TrimSpace(b.Root)) {
					t.Errorf("%+v", b)
				}
				if requests := s.take(); c.requests != nil && !slices.Equal(requests, slices.Sorted(slices.Values(c.requests))) {
					t.Errorf("requests %q, want %q", requests, c.requests)
				}
				if _, err := client.Collateral(t.Context(), family); err != nil || len(s.take()) > 0 {
					t.Errorf("requested again: %v", err)
				}
			})
		})
	}
	rootCRL, pckCRL, _, _ := Intel().parts(family, "early")
	if rootCRL.url != intelRootCRL || pckCRL.url != "https://api.trustedservices.intel.com"+basePath+"pckcrl?ca=processor&encoding=der" {
		t.Errorf("%+v, %+v", rootCRL, pckCRL)
	}
}

// An expired response is requested again, conditionally. A response in a directory serves the next
// process. If the service fails, a response that is still valid is used.
func TestCache(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		s.header.Set("ETag", `"1"`)
		client := s.client(t, pccs)
		client.Dir = t.TempDir()
		fetch := func(c *Client) error {
			t.Helper()
			_, err := c.Collateral(t.Context(), family)
			return err
		}
		if err := fetch(client); err != nil {
			t.Fatal(err)
		}
		s.take()

		time.Sleep(2 * time.Hour)
		var conditional atomic.Int32
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-None-Match") == `"1"` {
				conditional.Add(1)
				w.Header().Set("Cache-Control", "max-age=3600")
				w.WriteHeader(http.StatusNotModified)
				return true
			}
			return false
		})
		if err := fetch(client); err != nil || conditional.Load() != 4 {
			t.Errorf("%d of 4 requests were conditional, %v", conditional.Load(), err)
		}
		s.take()

		other := s.client(t, pccs)
		other.Dir = client.Dir
		if err := fetch(other); err != nil || len(s.take()) > 0 {
			t.Errorf("another process: %v", err)
		}

		// Damaged files are ignored.
		third := s.client(t, pccs)
		third.Dir = t.TempDir()
		files, err := filepath.Glob(filepath.Join(client.Dir, "pcs-*.json"))
		if err != nil || len(files) != 4 {
			t.Fatalf("%q, %v", files, err)
		}
		for _, file := range files {
			var r response
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			r.Body[len(r.Body)/2] ^= 1
			r.Expires = issued.AddDate(1, 0, 0)
			if text, err = json.Marshal(r); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(third.Dir, filepath.Base(file)), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.first(nil)
		s.take()
		if err := fetch(third); err != nil || len(s.take()) != 4 {
			t.Errorf("damaged files: %v", err)
		}

		time.Sleep(2 * time.Hour)
		s.first(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
		if err := fetch(client); err != nil {
			t.Errorf("the service fails, and the cached collateral is valid: %v", err)
		}
		time.Sleep(60 * 24 * time.Hour)
		if err := fetch(client); err == nil {
			t.Error("accepted expired collateral")
		}
	})
}

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
		}, nil, family, 0, "more than 4 MiB"},
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
		{"another family", nil, nil, Family{"00906ED50000", ProcessorCA}, 0, "not for 00906ED50000"},
		{"another CA", nil, nil, Family{"005A1D000000", PlatformCA}, 0, "not for 005A1D000000 and the platform CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t)
				s.first(c.before)
				if c.change != nil {
					c.change(s)
				}
				client := s.client(t, pccs)
				client.Dir = t.TempDir()
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

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://pccs.example:8081":                               "https://pccs.example:8081/sgx/certification/v4/",
		"https://pccs.example/sgx/certification/v4":               "https://pccs.example/sgx/certification/v4/",
		"https://api.trustedservices.intel.com":                   "https://api.trustedservices.intel.com/sgx/certification/v4/",
		"https://global.acccache.azure.net/sgx/certification/v4/": "https://global.acccache.azure.net/sgx/certification/v4/",
		"pccs.example":              "",
		"ftp://pccs.example":        "",
		"https://pccs.example/?x=y": "",
		"https://pccs.example/%zz":  "",
	} {
		s, err := ServiceAt(text)
		if s.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", text, s, err, want)
		}
	}
	if s, err := Azure(""); err != nil || s.kind != azure {
		t.Errorf("%v, %v", s, err)
	}
	if s, _ := ServiceAt("https://api.trustedservices.intel.com"); s != Intel() {
		t.Errorf("%v", s)
	}
}

func TestFamilyOf(t *testing.T) {
	i, err := attesttest.NewIssuer("node-1", issued)
	if err != nil {
		t.Fatal(err)
	}
	q, err := i.Quote(sgx.ReportBody{})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := FamilyOf(q); err != nil || f != family {
		t.Errorf("%+v, %v", f, err)
	}
	q.Signature.CertificationData = quote.CertificationData{Type: quote.PPIDClear}
	if _, err := FamilyOf(q); err == nil {
		t.Error("FamilyOf accepted a quote without certificates")
	}
	for _, c := range []struct {
		fmspc string
		ca    CA
	}{{"x", ProcessorCA}, {"00", ProcessorCA}, {"005A1D000000", "root"}} {
		if _, err := NewFamily(c.fmspc, c.ca); err == nil {
			t.Errorf("NewFamily accepted %+v", c)
		}
	}
}

func TestBundle(t *testing.T) {
	collateral, err := attesttest.NewCollateral(issued)
	if err != nil {
		t.Fatal(err)
	}
	b := &Bundle{Collateral: *collateral, Root: string(simulation.RootPEM()), Fetched: issued}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseBundle(text)
	if err != nil || again.TCBInfo != b.TCBInfo || again.Root != b.Root || !again.Fetched.Equal(b.Fetched) {
		t.Errorf("%+v, %v", again, err)
	}
	if f, err := again.Family(); err != nil || f != family {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := ParseBundle([]byte("{}")); err == nil {
		t.Error("parsed an empty object")
	}
}

func FuzzBundle(f *testing.F) {
	collateral, err := attesttest.NewCollateral(issued)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(&Bundle{Collateral: *collateral, Fetched: issued})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(hex.EncodeToString(collateral.PCKCRL)))
	verifier := attest.NewVerifier(root(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		if der, err := crlDER(text); err == nil && len(der) == 0 {
			t.Error("an empty CRL")
		}
		b, err := ParseBundle(text)
		if err != nil {
			return
		}
		_, _ = b.Family()
		if _, err := verifier.Check(&b.Collateral, issued); err == nil && b.TCBInfo != collateral.TCBInfo {
			t.Error("accepted forged collateral")
		}
	})
}
