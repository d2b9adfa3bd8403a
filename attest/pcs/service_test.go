package pcs

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
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
// so that the bubble's clock advances while all goroutines wait.
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
		listener: newPipeListener(), collateral: collateral,
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

// pipeListener is a listener whose connections are pipes. http.Server closes it once.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() pipeListener {
	return pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error { close(l.closed); return nil }

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
	client := &Client{Service: service, Roots: []attest.Root{root(t)}, HTTP: &http.Client{Transport: transport}}
	t.Cleanup(client.Close)
	return client
}

var family = Family{FMSPC: "005A1D000000", CA: ProcessorCA}

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

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://pccs.example:8081":                               "https://pccs.example:8081/sgx/certification/v4/",
		"https://pccs.example/sgx/certification/v4":               "https://pccs.example/sgx/certification/v4/",
		"https://api.trustedservices.intel.com":                   "https://api.trustedservices.intel.com/sgx/certification/v4/",
		"https://global.acccache.azure.net/sgx/certification/v4/": "https://global.acccache.azure.net/sgx/certification/v4/",
		"pccs.example":                                                "",
		"ftp://pccs.example":                                          "",
		"https://pccs.example/?x=y":                                   "",
		"https://pccs.example:8081/tdx/certification/v4":              "",
		"https://api.trustedservices.intel.com/tdx/certification/v4/": "",
		"https://pccs.example/%zz":                                    "",
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
