package verifier_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// newEARKey returns a key in PEM, private and public.
func newEARKey(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}))
}

// quoteFor returns a quote of a simulated enclave from a quote helper.
func quoteFor(t *testing.T, socket string, reportData sgx.ReportData) []byte {
	t.Helper()
	client := aesm.Client{Socket: socket}
	quote, err := client.Quote(t.Context(), func(_ context.Context, qe sgx.TargetInfo) (sgx.Report, error) {
		return simulation.DefaultCPU().Report(sgx.ReportBody{ReportData: reportData}, qe)
	})
	if err != nil {
		t.Fatal(err)
	}
	return quote
}

// do sends a request, and returns the status and the body of the answer.
func (s *service) do(t *testing.T, method, path, accept string, body any) (int, []byte) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.address+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", accept)
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func (s *service) nonce(t *testing.T) challenge.Nonce {
	t.Helper()
	var answer struct{ Nonce challenge.Nonce }
	if status, text := s.do(t, http.MethodGet, "/v1/challenge", "", nil); status != 200 || json.Unmarshal(text, &answer) != nil {
		t.Fatalf("%d: %s", status, text)
	}
	return answer.Nonce
}

func (s *service) keys(t *testing.T) *ear.Keys {
	t.Helper()
	_, text := s.do(t, http.MethodGet, "/.well-known/jwks.json", "", nil)
	keys, err := ear.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Two services with the same keys accept each other's nonces, and their EARs are verified with
// the keys of either. Keys are changed without a gap; files that are broken change nothing.
func TestServeEARs(t *testing.T) {
	f := files{t, t.TempDir()}
	socket := clitest.Serve(t)
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", f.dir)
	f.write("policy.json", `{"anyEnclave": true}`)
	private, public := newEARKey(t)
	nextPrivate, nextPublic := newEARKey(t)
	one, two := strings.Repeat("01", 32)+"\n", strings.Repeat("02", 32)+"\n"
	f.write("ear.pem", private)
	f.write("challenge.key", one)
	args := []string{"--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", f.dir}
	withKeys := append(args[:len(args):len(args)], "--ear-key", f.path("ear.pem"), "--challenge-key", f.path("challenge.key"), "--ear-lifetime=1m")
	first, second, stranger := start(t, http.DefaultClient, withKeys...), start(t, http.DefaultClient, withKeys...), start(t, http.DefaultClient, args...)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)

	verify := func(s *service, nonce challenge.Nonce, quote []byte) (status int, answer string) {
		status, text := s.do(t, http.MethodPost, "/v1/verify", ear.MediaType, map[string]any{"quote": quote, "nonce": nonce, "data": []byte("key")})
		return status, string(text)
	}
	nonce := first.nonce(t)
	quote := quoteFor(t, socket, challenge.ReportData(nonce, []byte("key")))
	status, token := verify(second, nonce, quote)
	claims, err := first.keys(t).Verify(token, time.Now())
	if err != nil {
		t.Fatalf("%d, %v: %s", status, err, token)
	}
	if err := claims.Appraisal.Binds([]byte("key")); err != nil || claims.Expires.Sub(claims.IssuedAt) != time.Minute {
		t.Errorf("%v, %+v", err, claims)
	}
	if status, text := stranger.do(t, http.MethodPost, "/v1/verify", "", map[string]any{"quote": quote, "nonce": nonce}); status != 400 || !strings.Contains(string(text), "the nonce was not issued here") {
		t.Errorf("a nonce of another service: %d, %s", status, text)
	}
	if status, text := stranger.do(t, http.MethodPost, "/v1/verify", ear.MediaType, map[string]any{"quote": quote}); status != 406 || !strings.Contains(string(text), "--ear-key") {
		t.Errorf("no key: %d, %s", status, text)
	}

	// The next key is published, then signs, then is alone. The new key for nonces is first
	// accepted, then used.
	former := first.keys(t)
	for _, c := range []struct{ ear, challenge string }{
		{private + nextPublic, one + two},
		{nextPrivate + public, two + one},
	} {
		before := first.nonce(t)
		f.write("ear.pem", c.ear)
		f.write("challenge.key", c.challenge)
		for _, s := range []*service{first, second} {
			s.await(t, "/readyz", "[+] EAR key\n")
			awaitKeys(t, s, 2)
		}
		quote := quoteFor(t, socket, challenge.ReportData(before, []byte("key")))
		status, token := verify(second, before, quote)
		if _, err := second.keys(t).Verify(token, time.Now()); err != nil {
			t.Errorf("%d, %v: %.200s", status, err, token)
		}
	}
	// Only now does the next key sign.
	for {
		_, token = verify(second, nonce, quote)
		if _, err := former.Verify(token, time.Now()); errors.Is(err, ear.ErrSignature) {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the next key does not sign")
		}
	}
	if _, err := second.keys(t).Verify(token, time.Now()); err != nil {
		t.Error(err)
	}

	for _, c := range []struct{ ear, earWant, challenge, challengeWant string }{
		{nextPrivate[:len(nextPrivate)-40], "0 of 1 PEM blocks are complete", two[:40], "line 1: not a key"},
		{"", "no key in PEM", "", "empty"},
	} {
		f.write("ear.pem", c.ear)
		f.write("challenge.key", c.challenge)
		for condition, want := range map[string]string{"EAR key": c.earWant, "challenge key": c.challengeWant} {
			first.await(t, "/readyz", want)
			first.awaitMetric(t, fmt.Sprintf("confcom_verifier_reload_failed{file=%q} 1", condition))
		}
		nonce := first.nonce(t)
		status, token := verify(first, nonce, quoteFor(t, socket, challenge.ReportData(nonce, []byte("key"))))
		if _, err := first.keys(t).Verify(token, time.Now()); err != nil {
			t.Errorf("%q, %q: %d, %v", c.ear, c.challenge, status, err)
		}
		for flag, want := range map[string]string{"--ear-key=" + f.path("ear.pem"): c.earWant, "--challenge-key=" + f.path("challenge.key"): c.challengeWant} {
			exit, _, errs := clitest.Run(t, nil, append([]string{"verifier", "serve", "--address=127.0.0.1:0", flag}, args...)...)
			if exit != 1 || !strings.Contains(errs, want) || strings.Contains(errs, two[:40]) {
				t.Errorf("%s, at start: exit %d, %s", flag, exit, errs)
			}
		}
	}
	if _, metrics := second.get(t, "/metrics"); !strings.Contains(metrics, `confcom_verifier_tcb_status_total{status="UpToDate"}`) ||
		!strings.Contains(metrics, `confcom_verifier_collateral_age_seconds_bucket{le="86400"}`) {
		t.Errorf("TCB status or age of collateral are not in the metrics:\n%s", metrics)
	}
}

// awaitKeys waits until a service publishes a number of keys.
func awaitKeys(t *testing.T, s *service, want int) {
	t.Helper()
	for {
		var set struct{ Keys []json.RawMessage }
		if _, text := s.do(t, http.MethodGet, "/.well-known/jwks.json", "", nil); json.Unmarshal(text, &set) == nil && len(set.Keys) == want {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the keys do not change")
		}
	}
}

// With TLS, a client has many requests at a time on one connection, and no more on all of its
// connections than the service has room for.
func TestServeHTTP2(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", f.path("quote"))
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", f.dir)
	f.write("policy.json", `{"anyEnclave": true}`)
	client := testCertificate(t, f.path("tls.crt"), f.path("tls.key"))
	s := start(t, client, "--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", f.dir,
		"--tls-cert", f.path("tls.crt"), "--tls-key", f.path("tls.key"))
	quote := f.read("quote")
	// connect returns a client with a connection of its own, and how many it has had.
	connect := func() (*http.Client, *atomic.Int64) {
		transport := client.Transport.(*http.Transport).Clone()
		transport.ForceAttemptHTTP2 = true
		opened := new(atomic.Int64)
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			opened.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}, opened
	}
	post := func(client *http.Client, body io.Reader) (status int, protocol string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.address+"/v1/verify", body)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		request.Header.Set("Content-Type", "application/octet-stream")
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer response.Body.Close()
		return response.StatusCode, response.Proto
	}
	var requests sync.WaitGroup
	var writers []*io.PipeWriter
	for range 8 {
		client, opened := connect()
		if status, protocol := post(client, bytes.NewReader(quote)); status != 200 || protocol != "HTTP/2.0" {
			t.Fatalf("%d, %s", status, protocol)
		}
		for range 8 {
			reader, writer := io.Pipe()
			writers = append(writers, writer)
			requests.Go(func() { post(client, reader) })
			_, _ = writer.Write(quote[:1]) // which the client reads when it sends the request
		}
		if n := opened.Load(); n != 1 {
			t.Fatalf("%d connections", n)
		}
	}
	// 64 requests are being sent: that is the share of a client.
	last, _ := connect()
	await := func(want int) {
		t.Helper()
		for {
			status, _ := post(last, bytes.NewReader(quote))
			if status == want {
				return
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-t.Context().Done():
				t.Fatalf("status %d, want %d", status, want)
			}
		}
	}
	await(http.StatusServiceUnavailable)
	for _, writer := range writers {
		writer.Close()
	}
	requests.Wait()
	await(http.StatusOK)
}

// Errors of TLS are in the log, as JSON.
func TestServeTLSErrors(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", f.dir)
	f.write("policy.json", `{"anyEnclave": true}`)
	client := testCertificate(t, f.path("tls.crt"), f.path("tls.key"))
	s := start(t, client, "--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", f.dir,
		"--tls-cert", f.path("tls.crt"), "--tls-key", f.path("tls.key"))
	conn, err := tls.Dial("tcp", s.address, nil) // it does not trust the certificate
	if err == nil {
		conn.Close()
		t.Fatal("the certificate is trusted")
	}
	line := s.awaitLog(t, "serve HTTP failed")
	var entry struct{ Level, Msg, Error string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level != "WARN" || !strings.Contains(entry.Error, "TLS handshake error") {
		t.Errorf("%v: %s", err, line)
	}
}

// Collateral that cannot be fetched is in the metrics.
func TestServeFetchFailures(t *testing.T) {
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", f.path("quote"))
	clitest.MustRun(t, "simulated", "root", "--out", f.path("root.pem"))
	f.write("policy.json", `{"anyEnclave": true}`)
	pccs := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(pccs.Close)
	s := start(t, http.DefaultClient, "--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", pccs.URL)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if answer, status := s.verify(t, f.read("quote")); status != http.StatusServiceUnavailable {
		t.Errorf("%d, %+v", status, answer)
	}
	// Which part fails first, and ends the requests for the others, is not known.
	s.await(t, "/metrics", `confcom_verifier_collateral_fetches_total{outcome="failed",part="`)
}
