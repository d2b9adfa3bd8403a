package verifier_test

import (
	"bufio"
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
	"testing"

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

// A quote of a quote helper is verified over HTTP, with collateral from a PCCS.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", file("quote"))
	clitest.MustRun(t, "simulated", "root", "--out", file("root.pem"))
	client := testCertificate(t, file("tls.crt"), file("tls.key"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	pccs := clitest.ServePCCS(t)
	log, stderr := io.Pipe()
	command := cli.New()
	command.SetOut(io.Discard)
	command.SetErr(stderr)
	ended := make(chan int, 1)
	go func() {
		exit := cli.Run(ctx, command, []string{"verifier", "serve", "--address=127.0.0.1:0", "--root", file("root.pem"),
			"--collateral", pccs, "--cache", file("cache"), "--log-format=json", "--tls-cert", file("tls.crt"), "--tls-key", file("tls.key")})
		stderr.Close()
		ended <- exit
	}()
	address := regexp.MustCompile(`"msg":"serving","address":"([^"]+)"`)
	var found []string
	var lines []string
	for scanner := bufio.NewScanner(log); found == nil && scanner.Scan(); lines = append(lines, scanner.Text()) {
		found = address.FindStringSubmatch(scanner.Text())
	}
	if found == nil {
		t.Fatalf("the service does not start:\n%s", strings.Join(lines, "\n"))
	}
	go io.Copy(io.Discard, log) // until the command ends
	data, err := os.ReadFile(file("quote"))
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
		t.Errorf("exit %d", exit)
	}
}

func TestServeBadInput(t *testing.T) {
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"--policy", "/none"}, 1, "--policy: "},
		{[]string{"--root", "/none"}, 1, "--root: "},
		{[]string{"--collateral", "/none"}, 1, "--collateral: "},
		{[]string{"--collateral", "https://"}, 1, "not the URL of a service"},
		{[]string{"--tls-cert", "/none"}, 1, "pass both"},
		{[]string{"--tls-cert", "/none", "--tls-key", "/none"}, 1, "no such file"},
		{[]string{"--address", "nowhere"}, 1, "--address=nowhere"},
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
