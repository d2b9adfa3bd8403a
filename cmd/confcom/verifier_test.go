package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is written by a daemon and read by a test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

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

// A quote goes the whole way: a helper, a PCCS, the verifier over HTTP.
func TestVerifierServe(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, args := range [][]string{
		{"quote", "get", "--socket", serve(t), "--out", file("quote")},
		{"simulated", "root", "--out", file("root.pem")},
	} {
		if exit, _, errs := confcom(t, nil, args...); exit != 0 {
			t.Fatalf("%q: exit %d: %s", args, exit, errs)
		}
	}
	client := testCertificate(t, file("tls.crt"), file("tls.key"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log lockedBuffer
	command := newCommand()
	command.SetOut(io.Discard)
	command.SetErr(&log)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, command, []string{"verifier", "serve", "--address=127.0.0.1:0", "--root", file("root.pem"),
			"--collateral", servePCCS(t), "--cache", file("cache"), "--log-format=json", "--tls-cert", file("tls.crt"), "--tls-key", file("tls.key")})
	}()
	address := regexp.MustCompile(`"msg":"quotes are judged","address":"([^"]+)"`)
	var found []string
	for deadline := time.Now().Add(30 * time.Second); found == nil; time.Sleep(5 * time.Millisecond) {
		if found = address.FindStringSubmatch(log.String()); found == nil && time.Now().After(deadline) {
			t.Fatalf("it does not serve:\n%s", &log)
		}
	}
	data, err := readFile(command, file("quote"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Post("https://"+found[1]+"/v1/verify", "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Trusted bool
		Status  string
		Reason  string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || !answer.Trusted || answer.Status != "UpToDate" {
		t.Errorf("%+v, %v", answer, err)
	}
	stop()
	if exit := <-ended; exit != 0 {
		t.Errorf("exit %d\n%s", exit, &log)
	}
}

func TestVerifierDoesNotServe(t *testing.T) {
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"--policy", "/none"}, 1, "--policy: "},
		{[]string{"--root", "/none"}, 1, "--root: "},
		{[]string{"--collateral", "/none"}, 1, "--collateral: "},
		{[]string{"--collateral", "https://"}, 1, "not the URL of a service"},
		{[]string{"--tls-cert", "/none"}, 1, "give both"},
		{[]string{"--tls-cert", "/none", "--tls-key", "/none"}, 1, "no such file"},
		{[]string{"--address", "nowhere"}, 1, "--address=nowhere"},
		{[]string{"--adress", "nowhere"}, 2, "unknown flag"},
	} {
		exit, out, errs := confcom(t, nil, append([]string{"verifier", "serve"}, c.args...)...)
		if exit != c.exit || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, want %d and %q\n%s%s", c.args, exit, c.exit, c.want, out, errs)
		}
	}
	if exit, out, _ := confcom(t, nil, "verifier", "serve", "--help"); exit != 0 || !strings.Contains(out, "--tls-cert") {
		t.Errorf("exit %d\n%s", exit, out)
	}
}
