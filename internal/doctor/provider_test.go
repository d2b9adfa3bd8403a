package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// providerEnv makes this test binary sgx-quote-worker, with a provider whose outcome is the
// variable's value.
const providerEnv = "DOCTOR_TEST_PROVIDER"

func TestMain(m *testing.M) {
	if outcome := os.Getenv(providerEnv); outcome != "" {
		os.Exit(provide(outcome))
	}
	if root := os.Getenv(anotherUserEnv); root != "" {
		os.Exit(examineDevices(root))
	}
	os.Exit(m.Run())
}

// outcome is what a provider does.
type outcome struct {
	Requests []fetch.Request
	Code     quote3.Error // it returns; 0 for certificates
	Useless  bool         // they are of no use
	Crash    bool
	Failure  string   // it cannot be asked
	Second   *outcome // with AZDCAP_BYPASS_BASE_URL
	Asked    string   // file to write the query and the environment to
}

func provide(text string) int {
	var o outcome
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	if os.Getenv("AZDCAP_BYPASS_BASE_URL") == "true" && o.Second != nil {
		o = *o.Second
	}
	if o.Crash {
		return 2
	}
	err := fetch.Serve(context.Background(), os.Stdin, os.NewFile(fetch.FD, "result"), func(_ context.Context, q certificates.Query) (certificates.Answer, []fetch.Request, error) {
		if o.Asked != "" {
			text, _ := json.Marshal(asked{q, os.Getenv("QCNL_CONF_PATH"), os.Getenv("AZDCAP_CACHE"), os.Getenv("https_proxy"), os.Args[1:]})
			if err := os.WriteFile(o.Asked, text, 0o600); err != nil {
				panic(err)
			}
		}
		switch {
		case o.Failure != "":
			return certificates.Answer{}, nil, &fetch.LoadError{Err: errors.New(o.Failure)}
		case o.Useless:
			return certificates.Answer{}, o.Requests, &certificates.UselessError{Err: errors.New("2 certificates, want 3")}
		case o.Code != 0:
			return certificates.Answer{}, o.Requests, o.Code
		}
		return certificates.Answer{}, o.Requests, nil
	})
	if err != nil {
		panic(err)
	}
	return 0
}

// asked is what a provider was asked.
type asked struct {
	Query                       certificates.Query
	Configuration, Cache, Proxy string
	Args                        []string
}

// hostOf returns a doctor on a machine with a provider, which uses a service.
func hostOf(t *testing.T, o outcome, base string) *Doctor {
	t.Helper()
	withoutProxies(t)
	dir := t.TempDir()
	d := &Doctor{
		Worker: os.Args[0], Provider: filepath.Join(dir, "provider.so"), Configuration: filepath.Join(dir, "qcnl.conf"),
		Certificates: filepath.Join(dir, "certificates"), Timeout: 10 * time.Second, FetchTimeout: time.Minute,
	}
	d.Machine.Sysroot = "/"
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(d.Provider, []byte("is not read"), 0o600),
		os.WriteFile(d.Configuration, fmt.Appendf(nil, `{"pccs_url": %q}`, base), 0o600),
		os.Mkdir(d.Certificates, 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(providerEnv, string(text))
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return d
}

// ofKnownPlatform lets the quote helper have asked for certificates.
func (d *Doctor) ofKnownPlatform(t *testing.T) certificates.Query {
	t.Helper()
	q := certificates.Query{ID: certificates.ID{QEID: [16]byte{7}, PCESVN: 13}, EncryptedPPID: []byte{1, 2}, Fresh: true}
	text, err := json.Marshal(q)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.Certificates, "query-1.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// crlServer serves a list of revoked certificates, and pages for all else.
func crlServer(t *testing.T) *httptest.Server {
	t.Helper()
	crl := newAuthority(t, "pccs.example").crl(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != servicePath+"pckcrl" {
			http.Error(w, "<html>", http.StatusNotFound)
			return
		}
		_, _ = w.Write(crl)
	}))
	t.Cleanup(server.Close)
	return server
}

// The provider's outcome decides. What confcom itself gets from the service only explains it.
func TestProviderDecides(t *testing.T) {
	server := crlServer(t)
	const curl60 = "(60) SSL peer certificate or SSH remote key was not OK"
	for _, c := range []struct {
		name      string
		known     bool // the platform
		path      string
		status    int
		curl      string
		code      quote3.Error
		useless   bool
		verdict   Verdict
		text      string
		forbidden string
	}{
		{"certificates", true, servicePath, 200, "", 0, false, OK, "certificates of this platform: URL: HTTP status 200", ""},
		{"not registered", true, servicePath, 461, "", 0xe047, false, Problem, "the platform is not registered", "asked by confcom"},
		{"no certificates", true, servicePath, 404, "", quote3.NoPlatformCertData, false, Problem, "knows nothing of this platform: register", "check the path"},
		{"wrong path", true, "/v4" + servicePath, 404, "", quote3.NoPlatformCertData, false, Problem, "check the path of the URL", "register"},
		{"no certificate at this TCB", true, servicePath, 462, "", 0xe049, false, Problem, "update firmware and microcode", ""},
		{"wrong key", true, servicePath, 401, "", 0xe044, false, Problem, "HTTP status 401 the subscription key is wrong", ""},
		{"ended version", true, servicePath, 410, "", 0xe044, false, Problem, "no longer has this version", ""},
		{"redirect", true, servicePath, 302, "", 0xe044, false, Problem, "the provider does not follow redirects", ""},
		{"malformed", true, servicePath, 400, "", 0xe044, false, Problem, "check custom_request_options", ""},
		{"untrusted", true, servicePath, 0, curl60, 0xe065, false, Problem, "where libcurl looks for it", ""},
		{"refused by the proxy", true, servicePath, 0, "(97) proxy handshake error", 0xe019, false, Problem, "the address of the proxy", ""},
		{"a URL with a blank", true, "/v4" + servicePath, 0, "(3) URL using bad/illegal format or missing URL", 0xe044, false, Problem, "see the check configuration", "check the path"},
		{"no answer in time", true, servicePath, 0, "", quote3.ServiceTimeout, false, Problem, "no answer within", ""},
		{"another's certificates", true, servicePath, 200, "", 0, true, Problem, "2 certificates, want 3 something else than a PCCS", ""},
		{"a page", true, "/v4" + servicePath, 200, "", 0, true, Problem, "check the path of the URL", ""},

		{"invented, not known", false, servicePath, 404, "", quote3.NoPlatformCertData, false, OK, "a platform that does not exist: URL: HTTP status 404, as it must be; ", ""},
		{"invented, not registered", false, servicePath, 461, "", 0xe047, false, OK, "is unknown until a worker", ""},
		{"invented, certificates", false, servicePath, 200, "", 0, false, OK, "is unknown until a worker", ""},
		{"invented, wrong path", false, "/v4" + servicePath, 404, "", quote3.NoPlatformCertData, false, Problem, "check the path of the URL", "as it must be"},
		{"invented, wrong key", false, servicePath, 401, "", 0xe044, false, Problem, "the subscription key is wrong", ""},
		{"invented, untrusted", false, servicePath, 0, curl60, 0xe065, false, Problem, "where libcurl looks for it", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := server.URL + c.path
			d := hostOf(t, outcome{Requests: []fetch.Request{{URL: url, Status: c.status, CURL: c.curl}}, Code: c.code, Useless: c.useless}, url)
			if c.known {
				d.ofKnownPlatform(t)
			}
			check := d.examine(t, "network")
			check.expect(t, c.verdict, strings.ReplaceAll(c.text, "URL:", url+":"))
			if text := check.Seen + check.Remedy; c.forbidden != "" && strings.Contains(text, c.forbidden) {
				t.Errorf("%q is in %s", c.forbidden, text)
			}
		})
	}
}

// What libcurl cannot reach is explained by what confcom itself sees.
func TestProviderFails(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	url := gone.URL + servicePath
	for _, c := range []struct {
		name    string
		outcome outcome
		text    string
	}{
		{"refused", outcome{Requests: []fetch.Request{{URL: url, CURL: "(7) Couldn't connect to server"}}, Code: quote3.NetworkError}, "asked by confcom: " + url + " is unreachable: dial tcp"},
		{"retries", outcome{Requests: []fetch.Request{{URL: url}}, Code: quote3.ServiceTimeout}, "check that the PCCS is running"},
		{"is not configured", outcome{Requests: []fetch.Request{{URL: url}}, Code: 0xe067}, "SGX_QL_CONFIG_INVALID_JSON (0xe067) the configuration of the provider is not valid JSON: see the check configuration"},
		{"cannot be loaded", outcome{Failure: "no such file: install one"}, "load the quote provider: no such file: install one see the checks providers and configuration"},
		{"logs nothing", outcome{Code: quote3.NetworkError}, "ask " + url + ": SGX_QL_NETWORK_ERROR (0xe019); asked by confcom"},
		{"crashes", outcome{Crash: true}, "the provider crashed on the answer of " + url},
	} {
		t.Run(c.name, func(t *testing.T) {
			hostOf(t, c.outcome, url).examine(t, "network").expect(t, Problem, c.text)
		})
	}
}

// The second of two services is enough for quotes.
func TestProviderAsksTwo(t *testing.T) {
	server := crlServer(t)
	first, second := server.URL+"/first"+servicePath, server.URL+servicePath
	d := hostOf(t, outcome{Requests: []fetch.Request{{URL: first, CURL: "(28) Timeout was reached"}, {URL: second, Status: 200}}}, second)
	d.ofKnownPlatform(t)
	d.examine(t, "network").expect(t, Warning, first+": error of libcurl: (28) Timeout was reached, "+second+": HTTP status 200 no answer in time")
}

// So it is if the platform is not known.
func TestProviderAsksTwoForNobody(t *testing.T) {
	server := crlServer(t)
	first, second := "http://127.0.0.1:1"+servicePath, server.URL+servicePath
	d := hostOf(t, outcome{Requests: []fetch.Request{{URL: first, CURL: "(7) refused"}, {URL: second, Status: 404}}, Code: quote3.NoPlatformCertData}, second)
	d.examine(t, "network").expect(t, Warning, second+": HTTP status 404, as it must be; asked by confcom for the list of revoked certificates: "+second+" answers (200 OK). Whether")
}

// The provider is asked what the quote helper asks, with the helper's configuration and
// environment, but not its cache.
func TestProviderIsAsked(t *testing.T) {
	server := crlServer(t)
	file := filepath.Join(t.TempDir(), "asked")
	d := hostOf(t, outcome{Asked: file, Requests: []fetch.Request{{URL: server.URL, Status: 200}}}, server.URL+servicePath)
	want := d.ofKnownPlatform(t)
	want.Fresh = false // it has nothing to forget
	d.Told = report(helperName, map[string]string{"platform": "dcap"})
	d.Told.Variables = map[string]string{"https_proxy": "http://proxy.example", "AZDCAP_CACHE": "/helper"}
	d.Place = Helper
	d.examine(t, "network").expect(t, OK, "")
	text, err := os.ReadFile(file)
	var got asked
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Query); diff != "" {
		t.Error(diff)
	}
	if got.Configuration != d.Configuration || got.Proxy != "http://proxy.example" || got.Cache == "/helper" || got.Cache == "" || got.Args[0] != "--fetch" {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(got.Cache); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the provider's cache is still there: %v", err)
	}
	if !strings.Contains(strings.Join(got.Args, " "), fmt.Sprintf("%q:%q", "dcap-provider", d.Provider)) {
		t.Errorf("arguments: %q", got.Args)
	}
}

// The platform can be given.
func TestProviderIsAskedForPlatform(t *testing.T) {
	server := crlServer(t)
	file := filepath.Join(t.TempDir(), "asked")
	d := hostOf(t, outcome{Asked: file, Requests: []fetch.Request{{URL: server.URL, Status: 200}}}, server.URL+servicePath)
	d.ofKnownPlatform(t)
	want := certificates.Query{ID: certificates.ID{PCESVN: 5}}
	d.Platform = &want
	d.examine(t, "network").expect(t, OK, "certificates of this platform")
	text, err := os.ReadFile(file)
	var got asked
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if diff := cmp.Diff(want, got.Query); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// Where the provider cannot be run, the result says so.
func TestProviderNotRun(t *testing.T) {
	server := crlServer(t)
	d := hostOf(t, outcome{}, server.URL+servicePath)
	d.Worker = "/nonexistent/sgx-quote-worker"
	d.examine(t, "network").expect(t, OK, "asked by confcom instead of the quote provider (/nonexistent/sgx-quote-worker, which would run it, cannot be executed here): "+server.URL+servicePath+" answers (200 OK)")
	d.Worker, d.Provider = os.Args[0], "/nonexistent/provider.so"
	if len(d.installed()) == 0 { // another one may be installed on this machine
		d.examine(t, "network").expect(t, OK, "no quote provider is installed here")
	}
}

// Azure's services are those of its variables, with what its provider adds to them.
func TestAzureServices(t *testing.T) {
	const global = "https://global.acccache.azure.net/sgx/certification/v4/"
	for _, c := range []struct {
		name      string
		variables map[string]string
		want      []string
	}{
		{"by default", nil, []string{"http://169.254.169.254/metadata/THIM/sgx/certification/v4/", global}},
		{"without the primary one", map[string]string{"AZDCAP_BYPASS_BASE_URL": "TRUE"}, []string{global}},
		{"all three", map[string]string{"AZDCAP_PRIMARY_BASE_CERT_URL": "http://a", "AZDCAP_SECONDARY_BASE_CERT_URL": "http://b/", "AZDCAP_BASE_CERT_URL": "http://c", "AZDCAP_COLLATERAL_VERSION": "v3"},
			[]string{"http://a/v3/", "http://b/v3/", "http://c/v3/ (optional)"}},
	} {
		d := &Doctor{Told: report(helperName, nil)}
		d.Told.Variables = c.variables
		var got []string
		for _, s := range d.azureServices() {
			if s.optional {
				s.base += " (optional)"
			}
			got = append(got, s.base)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
