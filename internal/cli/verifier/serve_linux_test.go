package verifier_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli"
	"github.com/confcom/confcom/internal/cli/clitest"
)

// testCertificate writes a certificate for 127.0.0.1 and its key, and returns a client
// that trusts it.
func testCertificate(t *testing.T, certFile, keyFile string) *http.Client {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	certificate := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return server.Client()
}

// service is 'confcom verifier serve' in a test.
type service struct {
	client  *http.Client
	address string // of the service
	health  string // of health and metrics
	stop    func()
	ended   chan int // the exit code
	log     chan string
}

// start runs the service until the test ends.
func start(t *testing.T, client *http.Client, args ...string) *service {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	log, stderr := io.Pipe()
	command := cli.New()
	command.SetOut(io.Discard)
	command.SetErr(stderr)
	s := &service{client: client, stop: stop, ended: make(chan int, 1), log: make(chan string, 100)}
	go func() {
		exit := cli.Run(ctx, command, append([]string{"verifier", "serve", "--address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--log-format=json"}, args...))
		stderr.Close()
		s.ended <- exit
	}()
	address := regexp.MustCompile(`"msg":"(serving[^"]*)","address":"([^"]+)"`)
	var lines []string
	scanner := bufio.NewScanner(log)
	for ; s.address == "" && scanner.Scan(); lines = append(lines, scanner.Text()) {
		switch found := address.FindStringSubmatch(scanner.Text()); {
		case found == nil:
		case found[1] == "serving":
			s.address = found[2]
		default:
			s.health = found[2]
		}
	}
	if s.address == "" || s.health == "" {
		t.Fatalf("the service does not start:\n%s", strings.Join(lines, "\n"))
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner.Scan() { // until the command ends
			select {
			case s.log <- scanner.Text():
			default: // no test reads so many
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-read
	})
	return s
}

// get returns a page of health and metrics.
func (s *service) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	response, err := http.Get("http://" + s.health + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// awaitLog waits for a line of the log with a text, and returns it.
func (s *service) awaitLog(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line := <-s.log:
			if strings.Contains(line, text) {
				return line
			}
		case <-t.Context().Done():
			t.Fatalf("%q is not in the log", text)
		}
	}
}

// awaitMetric waits until a line is in the metrics.
func (s *service) awaitMetric(t *testing.T, line string) {
	t.Helper()
	s.await(t, "/metrics", "\n"+line+"\n")
}

// await waits until a page of health and metrics contains a text.
func (s *service) await(t *testing.T, path, text string) {
	t.Helper()
	for {
		_, page := s.get(t, path)
		if strings.Contains(page, text) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("%q is not in %s:\n%s", text, path, page)
		}
	}
}

// files writes and replaces files in a directory.
type files struct {
	t   *testing.T
	dir string
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name+".new"), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.path(name+".new"), f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f files) read(name string) []byte {
	f.t.Helper()
	text, err := os.ReadFile(f.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

type answer struct {
	Trusted bool
	Status  string
	Reason  string
	Error   string
}

func (s *service) verify(t *testing.T, quote []byte) (answer answer, status int) {
	t.Helper()
	scheme := "https://"
	if s.client == http.DefaultClient {
		scheme = "http://"
	}
	response, err := s.client.Post(scheme+s.address+"/v1/verify", "application/octet-stream", bytes.NewReader(quote))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer, response.StatusCode
}

// A quote of a quote helper is verified over HTTP, with collateral from a PCCS. Broken
// versions of the policy and of the certificate change nothing but metrics and conditions.
func TestServe(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", f.path("quote"))
	clitest.MustRun(t, "simulated", "root", "--out", f.path("root.pem"))
	client := testCertificate(t, f.path("tls.crt"), f.path("tls.key"))
	client.Transport.(*http.Transport).DisableKeepAlives = true // a handshake for each request
	f.write("policy.json", `{"anyEnclave": true}`)
	s := start(t, client, "--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", clitest.ServePCCS(t),
		"--cache", f.path("cache"), "--tls-cert", f.path("tls.crt"), "--tls-key", f.path("tls.key"))
	quote := f.read("quote")
	trusted := func(when string) {
		t.Helper()
		if answer, status := s.verify(t, quote); status != 200 || !answer.Trusted || answer.Status != "UpToDate" {
			t.Errorf("%s: %d, %+v", when, status, answer)
		}
	}
	trusted("at start")
	s.awaitMetric(t, `confcom_verifier_collateral_fetches_total{outcome="ok",part="TCB info"} 1`)

	certificate := f.read("tls.crt")
	f.write("tls.crt", "broken")
	f.write("policy.json", `{"mrSigners": []}`)
	s.awaitMetric(t, `confcom_verifier_reload_failed{file="policy"} 1`)
	s.awaitMetric(t, `confcom_verifier_reload_failed{file="certificate"} 1`)
	trusted("with broken files")
	if status, text := s.get(t, "/readyz"); status != 200 || !strings.Contains(text, "[+] policy: reload failed") ||
		!strings.Contains(text, "mrSigners: empty list") || !strings.Contains(text, "[+] certificate: reload failed") {
		t.Errorf("%d\n%s", status, text)
	}

	f.write("tls.crt", string(certificate))
	f.write("policy.json", `{"mrSigners": ["`+strings.Repeat("00", 32)+`"]}`)
	s.awaitMetric(t, `confcom_verifier_reload_failed{file="policy"} 0`)
	s.awaitMetric(t, `confcom_verifier_reload_failed{file="certificate"} 0`)
	if answer, _ := s.verify(t, quote); answer.Trusted || !strings.Contains(answer.Reason, "MRSIGNER") {
		t.Errorf("with another policy: %+v", answer)
	}
	if status, text := s.get(t, "/readyz"); status != 200 || !strings.Contains(text, "[+] policy\n[+] certificate\n") {
		t.Errorf("%d\n%s", status, text)
	}
	s.stop()
	if exit := <-s.ended; exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

// A certificate that clients cannot accept replaces none that they can, and does not start the
// service.
func TestServeBadCertificate(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "simulated", "root", "--out", f.path("root.pem"))
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", f.dir)
	f.write("policy.json", `{"anyEnclave": true}`)
	now := time.Now()
	good, other := newPair(t, now.Add(-time.Hour), now.Add(time.Hour)), newPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	write := func(p pair) {
		t.Helper()
		f.write("tls.key", p.key)
		f.write("tls.crt", p.certificate)
	}
	write(good)
	args := []string{"--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", f.dir,
		"--tls-cert", f.path("tls.crt"), "--tls-key", f.path("tls.key")}
	s := start(t, http.DefaultClient, args...)
	served := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}))
	}
	for _, c := range []struct {
		name string
		pair pair
		want string
	}{
		{"expired", newPair(t, now.Add(-2*time.Hour), now.Add(-time.Hour)), "the certificate expired on"},
		{"not valid yet", newPair(t, now.Add(time.Hour), now.Add(2*time.Hour)), "the certificate is not valid before"},
		{"the key of another one", pair{good.certificate, other.key}, "private key does not match public key"},
		{"no certificate", pair{good.key, good.key}, "failed to find certificate PEM data"},
	} {
		write(c.pair)
		s.await(t, "/readyz", c.want)
		if _, metrics := s.get(t, "/metrics"); !strings.Contains(metrics, `confcom_verifier_reload_failed{file="certificate"} 1`) {
			t.Errorf("%s: not in the metrics", c.name)
		}
		if served() != good.certificate {
			t.Errorf("%s: it is served", c.name)
		}
		exit, _, errs := clitest.Run(t, nil, append([]string{"verifier", "serve", "--address=127.0.0.1:0"}, args...)...)
		if exit != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s, at start: exit %d, %s", c.name, exit, errs)
		}
	}
	write(other)
	s.await(t, "/metrics", `confcom_verifier_reload_failed{file="certificate"} 0`)
	if served() != other.certificate {
		t.Error("the next good one is not served")
	}
}

// Collateral that is forged, or no longer valid, replaces none that is valid.
func TestServeBadCollateral(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", f.path("quote"))
	clitest.MustRun(t, "simulated", "root", "--out", f.path("root.pem"))
	f.write("policy.json", `{"anyEnclave": true}`)
	issued := func(days int, change func(*attest.Collateral)) string {
		t.Helper()
		collateral, err := attesttest.NewCollateral(time.Now().AddDate(0, 0, -days))
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(collateral)
		}
		text, err := json.Marshal(collateral)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	forged := issued(0, func(c *attest.Collateral) { c.TCBInfoSignature[0] ^= 1 })
	args := []string{"--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", f.path("collateral.json")}
	f.write("collateral.json", forged)
	if exit, _, errs := clitest.Run(t, nil, append([]string{"verifier", "serve", "--address=127.0.0.1:0"}, args...)...); exit != 1 || !strings.Contains(errs, "TCB info: signature verification failed") {
		t.Errorf("forged, at start: exit %d, %s", exit, errs)
	}
	f.write("collateral.json", issued(60, nil)) // without a former one it is a reason to refuse quotes, not to stop
	s := start(t, http.DefaultClient, args...)
	quote := f.read("quote")
	if answer, status := s.verify(t, quote); status != 200 || answer.Trusted || !strings.Contains(answer.Reason, "collateral valid") {
		t.Errorf("with expired collateral: %d, %+v", status, answer)
	}
	f.write("collateral.json", issued(2, nil))
	for answer, _ := s.verify(t, quote); !answer.Trusted; answer, _ = s.verify(t, quote) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("%+v", answer)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"forged", forged, "signature verification failed"},
		{"of no known root", issued(0, func(c *attest.Collateral) { c.PCKCRLIssuerChain = c.TCBInfoIssuerChain + c.TCBInfoIssuerChain }), "pck_crl_issuer_chain"},
		{"expired", issued(60, nil), "collateral valid"},
		{"of the future", issued(-60, nil), "collateral valid"},
	} {
		f.write("collateral.json", c.text)
		s.await(t, "/readyz", c.want)
		if answer, status := s.verify(t, quote); status != 200 || !answer.Trusted {
			t.Errorf("%s: %d, %+v", c.name, status, answer)
		}
	}
	f.write("collateral.json", issued(1, nil))
	s.awaitMetric(t, `confcom_verifier_reload_failed{file="collateral"} 0`)
}

// pair is a certificate and its key, in PEM.
type pair struct{ certificate, key string }

// newPair returns a certificate that is valid for a time.
func newPair(t *testing.T, from, until time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// Connections of one client that send nothing, unfinished headers or unfinished bodies, or
// are kept open, do not keep another request of it from being served.
func TestServeHeldConnections(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", f.path("quote"))
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", f.dir)
	f.write("policy.json", `{"anyEnclave": true}`)
	s := start(t, http.DefaultClient, "--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", f.dir)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	quote := f.read("quote")
	for _, text := range []string{
		"",
		"POST /v1/verify HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20),
		"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 5000\r\n\r\n",
		"POST /v1/verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
		"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		for i := range 200 {
			conn, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(conn, text) // the service may have closed the connection
			if i%10 > 0 {
				continue
			}
			http.DefaultClient.CloseIdleConnections()
			if answer, status := s.verify(t, quote); status != 200 || !answer.Trusted {
				t.Fatalf("%d connections with %.60q: %d, %+v", i+1, text, status, answer)
			}
		}
	}
}

func TestServeBadInput(t *testing.T) {
	policy := func(text string) string {
		path := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--policy=" + path
	}
	anyEnclave := policy(`{"anyEnclave": true}`)
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{nil, 1, "--policy: missing"},
		{[]string{"--policy", "/none"}, 1, "--policy: "},
		{[]string{policy(`{}`)}, 1, "which enclaves are accepted"},
		{[]string{policy(`{"mrEnclave": []}`)}, 1, `unknown member \"mrEnclave`},
		{[]string{"--root", "/none"}, 1, "--root: open /none: no such file"},
		{[]string{anyEnclave, "--root="}, 1, "--root: the name of the file is empty"},
		{[]string{anyEnclave, "--collateral", "/none"}, 1, "--collateral: "},
		{[]string{anyEnclave, "--collateral", "https://"}, 1, "not the URL of a service"},
		{[]string{anyEnclave, "--tls-cert", "/none"}, 1, "pass both"},
		{[]string{anyEnclave, "--tls-cert", "/none", "--tls-key", "/none"}, 1, "no such file"},
		{[]string{anyEnclave, "--ear-key", "/none"}, 1, "--ear-key: "},
		{[]string{anyEnclave, "--challenge-key", "/none"}, 1, "--challenge-key: "},
		{[]string{anyEnclave, "--ear-key", "/dev/zero"}, 1, "not a file of keys"},
		{[]string{anyEnclave, "--ear-lifetime", "25h"}, 1, "--ear-lifetime=25h0m0s: want 1s to 24h0m0s"},
		{[]string{anyEnclave, "--challenge-lifetime", "0s"}, 1, "--challenge-lifetime=0s: want"},
		{[]string{anyEnclave, "--address", "nowhere"}, 1, "--address=nowhere"},
		{[]string{"--adress", "nowhere"}, 2, "unknown flag"},
	} {
		exit, out, errs := clitest.Run(t, nil, append([]string{"verifier", "serve"}, c.args...)...)
		if exit != c.exit || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, want %d and %q\n%s%s", c.args, exit, c.exit, c.want, out, errs)
		}
	}
	if exit, out, _ := clitest.Run(t, nil, "verifier", "serve", "--help"); exit != 0 || !strings.Contains(out, "--tls-cert") {
		t.Errorf("exit %d\n%s", exit, out)
	}
}
