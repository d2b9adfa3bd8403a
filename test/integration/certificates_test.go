package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/internal/doctor"
	"github.com/confcom/confcom/quote"
)

// uselessAnswer is what a certificate service or the provider may do.
type uselessAnswer struct {
	name     string // what the service does
	function string
	mode     string    // what Intel's provider makes of it
	code     aesm.Code // what a client gets while nothing is kept
	want     string    // in the log
}

// uselessAnswers are the answers that Intel's provider was seen to give, and what its
// service did.
func uselessAnswers() []uselessAnswer {
	return []uselessAnswer{
		{"400, 401, 410, 429, 460, 500, 502, 504, 302", dcaptest.Config, "status-500", aesm.CodeNetwork, "HTTP status 500: SGX_QL_UNKNOWN_MESSAGE_RESPONSE (0xe044)"},
		{"403", dcaptest.Config, "status-403", aesm.CodeNetwork, "HTTP status 403: SGX_QL_NETWORK_ERROR (0xe019)"},
		{"404", dcaptest.Config, "status-404", aesm.CodeNoPlatformCertData, "HTTP status 404: SGX_QL_NO_PLATFORM_CERT_DATA (0xe011)"},
		{"461", dcaptest.Config, "status-461", aesm.CodeNoPlatformCertData, "HTTP status 461: SGX_QL_PLATFORM_UNKNOWN (0xe047)"},
		{"462", dcaptest.Config, "status-462", aesm.CodeNoPlatformCertData, "HTTP status 462: SGX_QL_CERTS_UNAVAILABLE (0xe049)"},
		{"503", dcaptest.Config, "status-503", aesm.CodeNetwork, "HTTP status 503: SGX_QL_SERVICE_UNAVAILABLE (0xe040)"},
		{"503, and the provider retries", dcaptest.Config, "retry-503", aesm.CodeNetwork, "ask " + service + ": HTTP status 503, and the provider has not given up: SGX_QL_SERVICE_TIMEOUT (0xe042)"},
		{"connection refused, closed, no such host", dcaptest.Config, "curl-7", aesm.CodeNetwork, "CURL error (7)"},
		{"half a body", dcaptest.Config, "curl-18", aesm.CodeNetwork, "CURL error (18)"},
		{"TLS certificate not trusted", dcaptest.Config, "curl-60", aesm.CodeNetwork, "SGX_QL_ROOT_CA_UNTRUSTED (0xe065)"},
		{"200, empty", dcaptest.Config, "error-e001", aesm.CodeNetwork, "the provider failed with SGX_QL_ERROR_UNEXPECTED"},
		{"200, HTML, a JSON array, no TCBm, no chain", dcaptest.Config, "answer-null", aesm.CodeNetwork, "returns no certificates"},
		{"200, TCBm is not hexadecimal", dcaptest.Config, "answer-dangling", aesm.CodeNetwork, "the provider crashed on the answer of " + service},
		{"200, the body 5", dcaptest.Config, "segv", aesm.CodeNetwork, "the provider crashed on the answer of " + service + " (exit status 2: SIGSEGV: segmentation violation)"},
		{"the provider aborts", dcaptest.Config, "abort", aesm.CodeNetwork, "the provider crashed on the answer of " + service},
		{"the provider exits", dcaptest.Config, "exit", aesm.CodeNetwork, "the provider crashed on the answer of " + service},
		{"503 with a body, then 200", dcaptest.Config, "answer-after-503", aesm.CodeNetwork, "where a certificate should begin, after 0 certificates"},
		{"503 with a TCBm, then 200", dcaptest.Config, "answer-zero-tcb", aesm.CodeNetwork, "the PCK certificate is for"},
		{"200, another TCBm", dcaptest.Config, "answer-other-tcb", aesm.CodeNetwork, "the PCK certificate is for"},
		{"200, a certificate that is none", dcaptest.Config, "answer-no-certificate", aesm.CodeNetwork, "where a certificate should begin"},
		{"200, two letters", dcaptest.Config, "answer-tiny", aesm.CodeNetwork, "the certificates take 3 bytes"},
		{"200, 70 kB", dcaptest.Config, "answer-big", aesm.CodeNetwork, "the certificates take 7"},
		{"random bytes", dcaptest.Config, "answer-random", aesm.CodeNetwork, "where a certificate should begin"},
		{"silent, one byte a second, packets are dropped", dcaptest.Config, "hang", aesm.CodeNetwork, "no answer from " + service + " within"},
		{"200, the certificates of another platform", dcaptest.Config, "answer-other-platform", aesm.CodeAttKeyCertDataInvalid, "the platform certificates were refused: the PCK certificate has another key"},
		{"the quoting enclave refuses it", dcaptest.Size, "error-e010", aesm.CodeAttKeyCertDataInvalid, "the platform certificates were refused: SGX_QL_"},
		{"the PCE refuses its TCB", dcaptest.Size, "error-e018", aesm.CodeKeyCertification, "the platform certificates were refused: SGX_QL_"},
	}
}

// recovery is the longest time in which quotes must come back after the service has.
const recovery = time.Minute

// fetchTimeout is the time after which a provider that hangs is killed in these tests.
const fetchTimeout = time.Second

// A useless answer is kept by nobody: clients learn the cause, the log names the service,
// and quotes are back soon after the service.
func TestUselessAnswerAtStart(t *testing.T) {
	for _, c := range uselessAnswers() {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			n := prepare(t, 1, 0)
			n.config.FetchTimeout = fetchTimeout
			if err := n.library.AddOtherPlatform("node-2"); err != nil {
				t.Fatal(err)
			}
			fault, err := n.faults.Inject(c.function, "sticky-"+c.mode)
			if err != nil {
				t.Fatal(err)
			}
			n.run(t)
			n.await(t, "an error", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "start") >= 2 })
			n.await(t, "an answer", func() bool { err = n.quote(t.Context()); return !errors.Is(err, os.ErrNotExist) })
			if !errors.Is(err, c.code) {
				t.Errorf("got %v, want %v", err, c.code)
			}
			if n.log.count(c.want) == 0 {
				t.Errorf("the log has no %q", c.want)
			}
			if kept, _ := filepath.Glob(filepath.Join(n.config.Certificates, "pck-*")); len(kept) > 0 {
				t.Errorf("kept: %s", kept)
			}
			patience := testTimeout
			if c.mode == "hang" || c.mode == "retry-503" {
				patience = fetchTimeout
			}
			network, asked := n.examine(t, patience)
			if refused := strings.Contains(c.want, "were refused"); (network.Verdict == doctor.OK) != refused || (network.Remedy == "") != refused {
				t.Errorf("doctor: %+v", network) // what the library refuses looks right
			}
			if asked.Verdict != doctor.Problem || !strings.Contains(asked.Seen, c.code.String()) || asked.Remedy == "" {
				t.Errorf("doctor: %+v", asked)
			}
			if err := fault.Cancel(); err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			n.awaitQuotes(t)
			took := time.Since(back)
			if took > recovery {
				t.Errorf("quotes are back after %s", took)
			}
			t.Logf("| start | %s | %v | %s | %s: %s -> %s | quote %s: %s -> %s | %s |", c.name, c.code, c.want,
				network.Verdict, network.Seen, network.Remedy, asked.Verdict, asked.Seen, asked.Remedy, took.Round(10*time.Millisecond))
			if network, asked := n.examine(t, testTimeout); network.Verdict != doctor.OK || asked.Verdict == doctor.Problem {
				t.Errorf("doctor: %+v, %+v", network, asked)
			}
		})
	}
}

// examine runs the checks network and quote beside the helper, with a limit for the
// provider.
func (n *node) examine(t *testing.T, limit time.Duration) (network, quote doctor.Check) {
	t.Helper()
	d := doctor.Doctor{
		Place: doctor.Node, Socket: n.socket, Timeout: 15 * time.Second, Worker: n.config.Program, Provider: n.config.Provider,
		Configuration: n.config.QCNL, Certificates: n.config.Certificates, FetchTimeout: limit,
		Environ: n.config.Env,
	}
	d.Machine.Sysroot = "/"
	checks := d.Examine(t.Context(), "network", "quote")
	return checks[0], checks[1]
}

// A useless answer at a refresh changes nothing: no worker ends, and quotes go on with
// the certificates that are kept.
func TestUselessAnswerAtRefresh(t *testing.T) {
	for _, c := range uselessAnswers() {
		if c.function != dcaptest.Config {
			continue // the refresh brings the same certificates, which need no proof
		}
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			n := prepare(t, 1, 0)
			n.config.FetchTimeout, n.config.RefreshAfter = fetchTimeout, 100*time.Millisecond
			if err := n.library.AddOtherPlatform("node-2"); err != nil {
				t.Fatal(err)
			}
			n.run(t)
			n.awaitQuotes(t)
			fault, err := n.faults.Inject(dcaptest.Config, "sticky-"+c.mode)
			if err != nil {
				t.Fatal(err)
			}
			patience := testTimeout
			if c.mode == "hang" || c.mode == "retry-503" {
				patience = fetchTimeout
			}
			var network, asked doctor.Check
			n.load(t, 2, func() {
				n.await(t, "a refresh", func() bool { return n.log.count("refresh platform certificates failed", c.want) >= 2 })
				network, asked = n.examine(t, patience)
			})
			// The doctor warns of the service as long as there are quotes.
			if network.Verdict != doctor.Warning || !strings.Contains(network.Seen, service) || network.Remedy == "" {
				t.Errorf("doctor: %+v", network)
			}
			if asked.Verdict == doctor.Problem {
				t.Errorf("doctor: %+v", asked)
			}
			if err := fault.Cancel(); err != nil {
				t.Fatal(err)
			}
			back, fetched := time.Now(), n.log.count("fetched platform certificates")
			n.await(t, "a refresh that succeeds", func() bool { return n.log.count("fetched platform certificates", "source=network") > fetched })
			took := time.Since(back)
			if took > recovery {
				t.Errorf("the refresh succeeds after %s", took)
			}
			t.Logf("| refresh | %s | none | %s | %s: %s -> %s | quote %s: %s | %s |", c.name, c.want,
				network.Verdict, network.Seen, network.Remedy, asked.Verdict, asked.Seen, took.Round(10*time.Millisecond))
			if network, asked := n.examine(t, testTimeout); network.Verdict != doctor.OK || asked.Verdict == doctor.Problem {
				t.Errorf("doctor: %+v, %+v", network, asked)
			}
			for _, why := range []string{"crash", "timeout", "errors", "start"} {
				if ends := n.value("sgx_quote_helper_worker_ends_total", why); ends != 0 {
					t.Errorf("%v workers ended: %s", ends, why)
				}
			}
		})
	}
}

// Certificates of another platform, which the library accepts, are dropped at a refresh,
// and nobody notices.
func TestRefreshIsRefused(t *testing.T) {
	n := prepare(t, 1, 0)
	n.config.RefreshAfter = 2 * time.Second
	if err := n.library.AddOtherPlatform("node-2"); err != nil {
		t.Fatal(err)
	}
	n.run(t)
	n.awaitQuotes(t)
	before := n.kept(t)
	other, err := n.faults.Inject(dcaptest.Config, "sticky-answer-other-platform")
	if err != nil {
		t.Fatal(err)
	}
	n.load(t, 2, func() {
		n.await(t, "a refresh", func() bool {
			return n.log.count("refresh platform certificates failed", "the PCK certificate has another key") > 0
		})
	})
	if err := other.Cancel(); err != nil {
		t.Fatal(err)
	}
	if after := n.kept(t); !bytes.Equal(before, after) {
		t.Errorf("other certificates are kept: %s", after)
	}
	if ends := n.value("sgx_quote_helper_worker_ends_total", "crash"); ends != 0 {
		t.Errorf("%v workers ended", ends)
	}
}

// kept returns the certificate chain that is kept.
func (n *node) kept(t *testing.T) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(n.config.Certificates, "pck-*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("kept: %s, %v", names, err)
	}
	text, err := os.ReadFile(names[0])
	var file struct{ Data struct{ Chain []byte } }
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil || len(file.Data.Chain) == 0 {
		t.Fatalf("kept: %s, %v", text, err)
	}
	return file.Data.Chain
}

// What the provider has kept of a useless answer is cleared, where it can be told to.
// Otherwise it would return that for a week.
func TestProviderCache(t *testing.T) {
	n := prepare(t, 1, 0)
	n.config.RefreshAfter = 100 * time.Millisecond
	n.config.Env = append(n.config.Env, "DCAPTEST_CACHE=1")
	if _, err := n.faults.Inject(dcaptest.Config, "answer-after-503"); err != nil {
		t.Fatal(err)
	}
	n.run(t)
	n.awaitQuotes(t)
	if cleared, err := n.counters.Count(dcaptest.Clear); err != nil || cleared == 0 {
		t.Errorf("cleared %d times, %v", cleared, err)
	}
	// A good answer that the provider has kept is no news from the network.
	n.await(t, "a refresh from the provider's cache", func() bool { return n.log.count("fetched platform certificates", `source="provider cache"`) > 0 })
	fetched, fromNetwork := "sgx_quote_helper_certificates_timestamp_seconds", "sgx_quote_helper_certificates_network_timestamp_seconds"
	n.await(t, "the metrics", func() bool { return n.value(fetched) > n.value(fromNetwork) && n.value(fromNetwork) > 0 })
}

// Azure's provider logs through another function.
func TestAzureProvider(t *testing.T) {
	n := prepare(t, 1, 0)
	if err := n.library.UseAzureProvider(); err != nil {
		t.Fatal(err)
	}
	n.config.Provider = n.library.Path(dcaptest.AzureProvider)
	if _, err := n.faults.Inject(dcaptest.Config, "error-e019"); err != nil {
		t.Fatal(err)
	}
	n.run(t)
	n.awaitQuotes(t)
	if n.log.count("quote provider", "injected error 0xe019") != 1 {
		t.Error("the log has no line of the provider")
	}
	if n.log.count("fetch platform certificates failed", "ask Azure's certificate service") == 0 {
		t.Error("the log does not name the service")
	}
}

// Enclave files that are empty or swapped end the start of workers, and are reported as
// what was seen.
func TestWrongEnclaves(t *testing.T) {
	for _, c := range []struct {
		name string
		put  func(l *dcaptest.Library) error
		code aesm.Code
		want string
	}{
		{"an empty QE", func(l *dcaptest.Library) error { return os.Truncate(l.Path(dcaptest.QE3), 0) }, aesm.CodeOutOfMemory, "SGX_QL_ERROR_OUT_OF_MEMORY (0xe003)"},
		{"the PCE for the QE", func(l *dcaptest.Library) error {
			return replace(l.Path(dcaptest.QE3), []byte("stands for "+dcaptest.PCE))
		}, aesm.CodeServiceUnavailable, "SIGSEGV"},
		{"no PCE", func(l *dcaptest.Library) error { return os.Remove(l.Path(dcaptest.PCE)) }, aesm.CodeInterfaceUnavailable, "SGXError:2006"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := prepare(t, 1, 0)
			if err := c.put(n.library); err != nil {
				t.Fatal(err)
			}
			n.run(t)
			n.await(t, "a start that fails", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "start") >= 1 })
			var err error
			n.await(t, "an answer", func() bool { err = n.quote(t.Context()); return !errors.Is(err, os.ErrNotExist) })
			if !errors.Is(err, c.code) {
				t.Errorf("got %v, want %v", err, c.code)
			}
			if n.log.count("start worker failed", c.want) == 0 {
				t.Errorf("the log has no %q", c.want)
			}
		})
	}
}

// The helper describes the certificate that its quotes carry.
func TestDescription(t *testing.T) {
	n := start(t, 1, 0)
	data, err := n.client().Quote(t.Context(), makeReport)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quote.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	platform, err := attest.ParsePlatform(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	client := n.client()
	client.DescribeBackend = true
	ready, err := client.InitQuote(t.Context(), aesm.IntelQE3KeyID())
	if want := (aesm.Backend{Kind: "dcap", Certified: true, Components: platform.Components, PCESVN: platform.PCESVN}); err != nil || ready.Backend != want {
		t.Errorf("%+v, %v, want %+v", ready.Backend, err, want)
	}
}
