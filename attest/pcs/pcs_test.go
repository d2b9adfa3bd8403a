package pcs

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var issued = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// service is one with the collateral of simulated platforms.
type service struct {
	*httptest.Server
	collateral *attest.Collateral
	hexLists   bool   // as a PCCS has them
	tcbChain   string // the name of a header
	header     http.Header

	mu       sync.Mutex
	requests []string
	// before may answer itself.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newService(t *testing.T) *service {
	t.Helper()
	collateral, err := attesttest.NewCollateral(issued)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{collateral: collateral, tcbChain: "TCB-Info-Issuer-Chain", header: http.Header{"Cache-Control": {"max-age=3600"}}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

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
	list := func(name string) {
		if s.hexLists {
			fmt.Fprintf(w, "%x", files[name])
			return
		}
		w.Write(files[name])
	}
	switch path := strings.TrimPrefix(r.URL.Path, basePath); {
	case path == "rootcacrl", path == "pckcrl" && r.FormValue("uri") == intelRootCRL:
		list("root_ca_crl.der")
	case path == "pckcrl":
		w.Header().Set("SGX-PCK-CRL-Issuer-Chain", url.PathEscape(s.collateral.PCKCRLIssuerChain))
		list("pck_crl.der")
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

// first has before answer what it likes.
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

// client is one of a service, by a clock that can be set, and in no hurry to try
// again.
func (s *service) client(t *testing.T, k kind) (*Client, *time.Time) {
	t.Helper()
	service, err := at(k, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	now := issued.Add(time.Hour)
	c := &Client{Service: service, Roots: []attest.Root{root(t)}, HTTP: s.Client(), Timeout: 5 * time.Second}
	c.now = func() time.Time { return now }
	c.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return c, &now
}

var family = Family{"005A1D000000", ProcessorCA}

// All kinds of services have the same collateral, in their own words.
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
		{"as Intel's", pccs, false, "TCB-Info-Issuer-Chain", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t)
			s.hexLists, s.tcbChain = c.hex, c.chain
			client, _ := s.client(t, c.kind)
			b, err := client.Collateral(t.Context(), family)
			if err != nil {
				t.Fatal(err)
			}
			if b.TCBInfo != s.collateral.TCBInfo || b.PCKCRL.String() != s.collateral.PCKCRL.String() || !strings.Contains(string(simulation.RootPEM()), strings.TrimSpace(b.Root)) {
				t.Errorf("%+v", b)
			}
			if requests := s.take(); c.requests != nil && !slices.Equal(requests, slices.Sorted(slices.Values(c.requests))) {
				t.Errorf("asked for %q, want %q", requests, c.requests)
			}
			if _, err := client.Collateral(t.Context(), family); err != nil || len(s.take()) > 0 {
				t.Errorf("asked again: %v", err)
			}
		})
	}
	rootCRL, pckCRL, _, _ := Intel().parts(family, "early")
	if rootCRL.url != intelRootCRL || pckCRL.url != "https://api.trustedservices.intel.com"+basePath+"pckcrl?ca=processor&encoding=der" {
		t.Errorf("%+v, %+v", rootCRL, pckCRL)
	}
}

// What is old is asked for again, with what is known of it; what is kept in a
// directory is there for the next process; and it is used where nobody answers.
func TestKept(t *testing.T) {
	s := newService(t)
	s.header.Set("ETag", `"1"`)
	client, now := s.client(t, pccs)
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

	*now = now.Add(2 * time.Hour)
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

	other, _ := s.client(t, pccs)
	other.Dir, other.now = client.Dir, client.now
	if err := fetch(other); err != nil || len(s.take()) > 0 {
		t.Errorf("another process: %v", err)
	}

	*now = now.Add(2 * time.Hour)
	s.first(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	if err := fetch(client); err != nil {
		t.Errorf("nobody answers, and what is here is valid: %v", err)
	}
	*now = now.AddDate(0, 2, 0)
	if err := fetch(client); err == nil {
		t.Error("expired, and accepted")
	}
	s.first(nil)

	// Files that somebody has changed are as good as none.
	*now = issued.Add(time.Hour)
	third, _ := s.client(t, pccs)
	third.Dir = client.Dir
	files, err := filepath.Glob(filepath.Join(client.Dir, "pcs-*.json"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		var a answer
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatal(err)
		}
		a.Body[len(a.Body)/2] ^= 1
		a.Expires = issued.AddDate(1, 0, 0)
		if text, err = json.Marshal(a); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.take()
	if err := fetch(third); err != nil || len(s.take()) != 4 {
		t.Errorf("damaged files: %v", err)
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   func(w http.ResponseWriter, r *http.Request) bool
		change   func(*service)
		family   Family
		requests int // for one part; 0 is not looked at
		want     string
	}{
		{"not found", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }, nil, family, 0, "none for such a platform"},
		{"unknown to the PCCS", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(461); return true }, nil, family, 0, "not known there"},
		{"not for you", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true }, nil, family, 0, "does not answer to you"},
		{"for ever too many", func(w http.ResponseWriter, r *http.Request) bool {
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
		{"no JSON", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/qe/identity") {
				w.Header().Set("SGX-Enclave-Identity-Issuer-Chain", "x")
				w.Write([]byte("<html>"))
				return true
			}
			return false
		}, nil, family, 0, "the QE identity: invalid character"},
		{"no list", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/rootcacrl") {
				w.Write([]byte("<html>"))
				return true
			}
			return false
		}, nil, family, 0, "neither DER nor PEM"},
		{"changed", nil, func(s *service) { s.collateral.QEIdentitySignature[0] ^= 1 }, family, 0, "it was changed"},
		{"of another family", nil, nil, Family{"00906ED50000", ProcessorCA}, 0, "not for 00906ED50000"},
		{"of another CA", nil, nil, Family{"005A1D000000", PlatformCA}, 0, `not for 005A1D000000 and "platform"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t)
			s.first(c.before)
			if c.change != nil {
				c.change(s)
			}
			client, _ := s.client(t, pccs)
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
				t.Errorf("asked %d times, want %d", n, c.requests)
			}
			if files, _ := os.ReadDir(client.Dir); len(files) > 0 {
				t.Errorf("kept %v", files)
			}
		})
	}
}

// A service that comes back while it is asked is no failure; one that hangs is given
// up; and whoever asks for the same at the same time waits for the same.
func TestPatience(t *testing.T) {
	s := newService(t)
	var failed sync.Map
	s.first(func(w http.ResponseWriter, r *http.Request) bool {
		if _, twice := failed.LoadOrStore(r.URL.RequestURI(), true); !twice {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	client, _ := s.client(t, pccs)
	if _, err := client.Collateral(t.Context(), family); err != nil {
		t.Error(err)
	}

	s = newService(t)
	asked, release := make(chan bool, 100), make(chan bool)
	s.first(func(http.ResponseWriter, *http.Request) bool { asked <- true; <-release; return false })
	client, _ = s.client(t, pccs)
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() {
		_, err := client.Collateral(ctx, family)
		impatient <- err
	}()
	<-asked
	var others sync.WaitGroup
	for range 8 {
		others.Go(func() {
			if _, err := client.Collateral(t.Context(), family); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	others.Wait()
	if n := len(s.take()); n > 8 { // those who came when it was done have asked for nothing
		t.Errorf("%d requests", n)
	}

	s = newService(t)
	hang := make(chan bool)
	s.first(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return true
	})
	client, _ = s.client(t, pccs)
	client.Timeout, client.Attempts = 20*time.Millisecond, 2
	if _, err := client.Collateral(t.Context(), family); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(hang)
}

func TestAgain(t *testing.T) {
	c := new(Client)
	for _, w := range []struct {
		err      error
		attempt  int
		min, max time.Duration
		again    bool
	}{
		{errors.New("no network"), 0, time.Second, 1500 * time.Millisecond, true},
		{errors.New("no network"), 1, 2 * time.Second, 3 * time.Second, true},
		{&StatusError{Status: 500}, 0, time.Second, 1500 * time.Millisecond, true},
		{&StatusError{Status: 429, RetryAfter: 10 * time.Second}, 0, 10 * time.Second, 10 * time.Second, true},
		{&StatusError{Status: 429, RetryAfter: time.Hour}, 0, maxPause, maxPause, true},
		{&StatusError{Status: 404}, 0, 0, 0, false},
		{&tls.CertificateVerificationError{}, 0, 0, 2 * time.Second, false},
	} {
		if pause, again := c.again(w.err, w.attempt); again != w.again || pause < w.min || pause > w.max {
			t.Errorf("%v: %s, %v", w.err, pause, again)
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
		t.Error("a quote without certificates")
	}
	for _, c := range []struct {
		fmspc string
		ca    CA
	}{{"x", ProcessorCA}, {"00", ProcessorCA}, {"005A1D000000", "root"}} {
		if _, err := NewFamily(c.fmspc, c.ca); err == nil {
			t.Errorf("%+v is a family", c)
		}
	}
}

func TestBundle(t *testing.T) {
	s := newService(t)
	client, _ := s.client(t, pccs)
	b, err := client.Collateral(t.Context(), family)
	if err != nil {
		t.Fatal(err)
	}
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
		t.Error("nothing is a bundle")
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
		if der, err := list(text); err == nil && len(der) == 0 {
			t.Error("a list of nothing")
		}
		b, err := ParseBundle(text)
		if err != nil {
			return
		}
		_, _ = b.Family()
		if _, err := verifier.Check(&b.Collateral, issued); err == nil && b.TCBInfo != collateral.TCBInfo {
			t.Error("forged collateral")
		}
	})
}

func ExampleClient() {
	s := httptest.NewServer(http.NotFoundHandler()) // such as https://pccs.example:8081
	defer s.Close()
	service, err := PCCS(s.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &Client{Service: service}
	defer http.DefaultClient.CloseIdleConnections()
	_, err = client.Collateral(context.Background(), Family{"00906ED50000", ProcessorCA})
	status, ok := errors.AsType[*StatusError](err)
	fmt.Println(ok, status.Status)
	// Output: true 404
}
