package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/node/nodetest"
)

// authority is a CA, whose certificate can also be that of a service.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// newAuthority returns a CA whose subject is a host name. It has no other names.
func newAuthority(t *testing.T, host string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, SubjectKeyId: []byte{1},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key, cert}
}

// crl returns a list of revoked certificates.
func (a authority) crl(t *testing.T) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
	}, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// configured returns a doctor whose provider uses a service.
func configured(t *testing.T, base string, verifyTLS bool) *Doctor {
	t.Helper()
	withoutProxies(t)
	return patient(t, nodetest.Tree{"etc/sgx_default_qcnl.conf": fmt.Sprintf(`{"pccs_url": %q, "use_secure_cert": %t}`, base, verifyTLS)})
}

// withoutProxies removes the proxies of this machine until the test ends.
func withoutProxies(t *testing.T) {
	t.Helper()
	for _, name := range []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"} {
		unset(t, name)
	}
}

const servicePath = "/sgx/certification/v4/"

// Nothing but the right answer is ok.
func TestAnswers(t *testing.T) {
	crl := newAuthority(t, "pccs.example").crl(t)
	const html = "<!DOCTYPE html><html><body><pre>Cannot GET /sgx/certification/v4/pckcrl</pre></body></html>"
	type header map[string]string
	for _, c := range []struct {
		name    string
		code    int
		header  header
		body    string
		verdict Verdict
		text    string
	}{
		{"a CRL", 200, nil, string(crl), OK, "answers (200 OK)"},
		{"a CRL in hexadecimal", 200, nil, hex.EncodeToString(crl), OK, "200"},
		{"a CRL in PEM", 200, nil, string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})), OK, "200"},
		{"nothing", 200, nil, "", Problem, "an empty body"},
		{"a page of a proxy", 200, nil, html, Problem, "an HTML page"},
		{"JSON", 200, nil, `{"status": "ok"}`, Problem, "something else than a CRL"},
		{"too much", 200, nil, strings.Repeat("x", maxAnswer+1), Problem, "more than 1 MiB"},
		{"a redirect", 302, header{"Location": "https://pccs.example/"}, "", Problem, "a redirect to https://pccs.example/ write the address that the redirect leads to"},
		{"a malformed request", 400, nil, "Invalid request parameters.", Problem, `"Invalid request parameters." check the version of the PCCS`},
		{"a wrong key", 401, nil, "Access denied due to missing subscription key.", Problem, "Ocp-Apim-Subscription-Key"},
		{"denied", 403, nil, "", Problem, "denied the request"},
		{"a wrong path", 404, nil, html, Problem, "check the path"},
		{"an empty cache", 404, nil, "No cache data for this platform.", Problem, "CachingFillMode"},
		{"a proxy's credentials", 407, nil, "", Problem, "credentials"},
		{"an old version", 410, nil, "", Problem, "no longer has this version of the API"},
		{"too often", 429, nil, "", Problem, "too often"},
		{"integrity", 460, nil, "", Problem, "could not verify"},
		{"not registered", 461, nil, "The platform is unknown.", Problem, "not registered"},
		{"no certificate", 462, nil, "", Problem, "no certificate for this platform at its TCB"},
		{"an error", 500, nil, "", Problem, "check the log of http"},
		{"cannot reach Intel's service", 502, nil, "", Problem, "cannot reach Intel's service"},
		{"unavailable", 503, nil, "", Problem, "overloaded or not running"},
		{"a proxy without an answer", 504, nil, "", Problem, "overloaded or not running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := servicePath + "pckcrl?ca=platform&encoding=der"; r.RequestURI != want {
					t.Errorf("asked for %s, want %s", r.RequestURI, want)
				}
				for name, value := range c.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			configured(t, server.URL+servicePath, true).examine(t, "network").expect(t, c.verdict, c.text)
		})
	}
}

// Azure's metadata service has no list of revoked certificates.
func TestMetadataService(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		body string
		want string // part of what to do; empty: it is the right answer
	}{
		{"refuses the platform", 400, `{"error": "Invalid QEID"}`, ""},
		{"does not know the platform", 404, "", ""},
		{"no header", 400, `{"error": "Bad request. Required metadata header not specified"}`, "azureTHIM"},
		{"no parameter", 400, `{"error": "Bad request. api-version was not specified"}`, "azureTHIM"},
		{"a page", 404, "<html>", "check the path"},
		{"fails", 500, "", "check the log"},
		{"denies", 403, "", "denied"},
	} {
		a := answer{base: "http://169.254.169.254/metadata/THIM/sgx/certification/v4/", code: c.code, status: "x", body: []byte(c.body)}
		if got := new(Doctor).remedyFor(a); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if (c.want == "") != strings.Contains(a.String(), "is not tried") {
			t.Errorf("%s: %s", c.name, a)
		}
	}
	s := service{base: "http://169.254.169.254/metadata/THIM/sgx/certification/v4/", params: map[string]string{"api-version": "1", "a": "b"}}
	if got, err := s.request(); err != nil || !strings.HasSuffix(got, "&a=b&api-version=1") {
		t.Errorf("%s, %v", got, err)
	}
	s = service{base: azureCaches + "/v4/"}
	if got, err := s.request(); err != nil || !strings.Contains(got, "/v4/pckcrl?uri=https%3A%2F%2F") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestNoAnswer(t *testing.T) {
	hanging := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/partial") {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
			return
		}
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // no answer at all
	}))
	defer server.Close()
	defer close(hanging)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name, base string
		timeout    time.Duration
		text       string
	}{
		{"hanging", server.URL, 100 * time.Millisecond, "firewalls"},
		{"partial", server.URL + "/partial", time.Minute, "ends its answer (200 OK) too early"},
		{"gone", gone.URL, time.Minute, "connection refused"},
		{"no such host", "https://pccs.invalid", time.Minute, "DNS"},
		{"TLS where there is none", strings.Replace(server.URL, "http:", "https:", 1), time.Minute, "server gave HTTP response"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := configured(t, c.base+servicePath, true)
			d.Timeout = c.timeout
			d.examine(t, "network").expect(t, Problem, c.text)
			d.examine(t, "clock").expect(t, map[bool]Verdict{true: OK, false: Skipped}[c.name == "partial"], "")
		})
	}
}

// TLS certificates are accepted as libcurl does.
func TestTLS(t *testing.T) {
	ca := newAuthority(t, "localhost") // without other names
	crl := ca.crl(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(crl) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key}}}
	server.StartTLS()
	defer server.Close()
	configured(t, server.URL+servicePath, true).examine(t, "network").expect(t, Problem, "use_secure_cert")
	configured(t, server.URL+servicePath, false).examine(t, "network").expect(t, OK, "200")

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for host, want := range map[string]bool{"localhost": true, "LOCALHOST": true, "elsewhere": false} {
		connection, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: roots, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		err = namesHost(connection.ConnectionState().PeerCertificates[0], host)
		if connection.Close(); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestClock(t *testing.T) {
	for _, c := range []struct {
		name    string
		behind  time.Duration
		verdict Verdict
		text    string
	}{
		{"same time", 0, OK, "within 5m0s of"},
		{"another time", time.Hour, Problem, "1h0m"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-c.behind).UTC().Format(http.TimeFormat))
		}))
		configured(t, server.URL+servicePath, true).examine(t, "clock").expect(t, c.verdict, c.text)
		server.Close()
	}
}

// The result names all services, and each is asked once for both checks.
func TestServices(t *testing.T) {
	var asked atomic.Int32
	crl := newAuthority(t, "pccs.example").crl(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(crl)
	}))
	defer server.Close()
	withoutProxies(t)
	d := patient(t, nodetest.Tree{"etc/sgx_default_qcnl.conf": fmt.Sprintf(
		`{"local_pck_url": "http://127.0.0.1:1/sgx/certification/v4/", "pccs_url": "%s/sgx/certification/v4/"}`, server.URL)})
	checks := d.Examine(t.Context(), "network", "clock")
	checks[0].expect(t, Warning, "127.0.0.1:1")
	checks[0].expect(t, Warning, server.URL+"/sgx/certification/v4/ answers (200 OK)")
	checks[1].expect(t, OK, server.URL)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Proxies are chosen as libcurl does.
func TestProxy(t *testing.T) {
	for _, c := range []struct {
		name, url string
		env       map[string]string
		want      string
	}{
		{"none", "https://a.example/", nil, ""},
		{"for https", "https://a.example/", map[string]string{"https_proxy": "http://p:1"}, "http://p:1"},
		{"in capitals", "https://a.example/", map[string]string{"HTTPS_PROXY": "http://p:1"}, "http://p:1"},
		{"for http", "http://a.example/", map[string]string{"http_proxy": "http://p:1"}, "http://p:1"},
		{"for http, in capitals", "http://a.example/", map[string]string{"HTTP_PROXY": "http://p:1"}, ""},
		{"of the other scheme", "http://a.example/", map[string]string{"https_proxy": "http://p:1"}, ""},
		{"for all", "http://a.example/", map[string]string{"all_proxy": "socks5h://p:1"}, "socks5h://p:1"},
		{"for all, in capitals", "https://a.example/", map[string]string{"ALL_PROXY": "p:1"}, "http://p:1"},
		{"this machine", "https://localhost/", map[string]string{"https_proxy": "p:1"}, "http://p:1"},
		{"excepted", "https://a.example/", map[string]string{"https_proxy": "p:1", "no_proxy": "b.example, a.example"}, ""},
		{"excepted by domain", "https://a.b.example/", map[string]string{"https_proxy": "p:1", "no_proxy": ".b.example"}, ""},
		{"not by part of a name", "https://ab.example/", map[string]string{"https_proxy": "p:1", "no_proxy": "b.example"}, "http://p:1"},
		{"excepted by network", "https://10.1.2.3/", map[string]string{"https_proxy": "p:1", "NO_PROXY": "10.0.0.0/8"}, ""},
		{"excepted by address", "http://169.254.169.254/", map[string]string{"http_proxy": "p:1", "no_proxy": "169.254.169.254"}, ""},
		{"all are excepted", "https://a.example/", map[string]string{"https_proxy": "p:1", "no_proxy": "*"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			withoutProxies(t)
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if proxy, err := new(Doctor).proxyFor(u); err != nil {
				t.Fatal(err)
			} else if proxy != nil {
				got = proxy.String()
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A proxy that asks for a login is named, without its password.
func TestThroughProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer proxy.Close()
	d := configured(t, "http://pccs.example"+servicePath, true)
	_, port, err := net.SplitHostPort(proxy.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("http_proxy", "http://me:secret@127.0.0.1:"+port)
	check := d.examine(t, "network")
	check.expect(t, Problem, "through the proxy http://me:xxxxx@127.0.0.1:"+port+" answers (407")
	check.expect(t, Problem, "the proxy wants credentials")
}
