package quote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/internal/cli/enclave"
	"github.com/confcom/confcom/sgx"
)

// listen accepts connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// serveTLS serves handshakes.
func serveTLS(t *testing.T, config *tls.Config) (address string) {
	return listen(t, func(conn net.Conn) { _ = tls.Server(conn, config).HandshakeContext(t.Context()) })
}

// raTLS returns the certificate of the confcom command's enclave.
func raTLS(t *testing.T) *ratls.Attester {
	t.Helper()
	client := aesm.Client{Socket: clitest.Serve(t)}
	attester, err := ratls.NewAttester(t.Context(), ratls.AttesterConfig{
		Quote: func(ctx context.Context, data sgx.ReportData) ([]byte, error) {
			return client.Quote(ctx, enclave.Enclave{ReportData: data}.Report)
		},
		Name: "a test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return attester
}

func TestVerifyTLS(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	clitest.MustRun(t, "simulated", "root", "--out", root)
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", dir)
	signer := fmt.Sprintf("%x", sha256.Sum256([]byte("SIMULATED: signer of the confcom command")))

	attester := raTLS(t)
	server := serveTLS(t, &tls.Config{GetCertificate: attester.GetCertificate})
	older := serveTLS(t, &tls.Config{GetCertificate: attester.GetCertificate, MaxVersion: tls.VersionTLS12})
	mutual := serveTLS(t, &tls.Config{GetCertificate: attester.GetCertificate, MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert})

	// The evidence of the enclave, in the certificate of another key.
	thief := httptest.NewUnstartedServer(http.NotFoundHandler())
	thief.TLS = &tls.Config{Certificates: []tls.Certificate{stolen(t, attester.Certificate().Leaf)}}
	thief.StartTLS()
	defer thief.Close()
	ordinary := httptest.NewTLSServer(http.NotFoundHandler())
	defer ordinary.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closes := listen(t, func(net.Conn) {})
	ssh := listen(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte("SSH-2.0-test\r\n"))
		_, _ = conn.Read(make([]byte, 4096))
	})
	silent := listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)); _, _ = conn.Read(make([]byte, 1)) })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()

	verify := func(address string, flags ...string) []string {
		return append([]string{"quote", "verify", "--tls", address, "--root", root, "--collateral", dir}, flags...)
	}
	for _, c := range []struct {
		name string
		args []string
		exit int
		out  string
		errs string
	}{
		{"trusted", verify(server, "--mrsigner", signer), 0, "TRUSTED until", ""},
		{"the server is shown", verify(server, "--mrsigner", signer), 0, "server            " + server + ", TLS 1.3", ""},
		{"its certificate", verify(server, "--mrsigner", signer), 0, "certificate       CN=a test", ""},
		{"the format", verify(server, "--mrsigner", signer), 0, "evidence          Interoperable RA-TLS", ""},
		{"the key", verify(server, "--mrsigner", signer), 0, "the report data is the SHA-256 of the claims, which have the SHA-256 of the key", ""},
		{"TLS 1.2", verify(older, "--mrsigner", signer), 0, "TLS 1.2", ""},
		{"another enclave", verify(server, "--mrsigner", strings.Repeat("00", 32)), 1, "FAILED  MRSIGNER", ""},
		{"no policy", verify(server), 2, "INCOMPLETE", "--mrsigner"},
		{"no collateral", []string{"quote", "verify", "--tls", server, "--root", root, "--mrsigner", signer}, 2, "INCOMPLETE", "pass --collateral"},
		{"another root", []string{"quote", "verify", "--tls", server, "--collateral", dir, "--mrsigner", signer}, 1, "FAILED  trusted root", ""},
		{"required report data", verify(server, "--mrsigner", signer, "--report-data", "00"), 2, "", "binds the key of its certificate"},
		{"evidence for another key", verify(thief.Listener.Addr().String(), "--mrsigner", signer), 1, "", "the evidence is not about the key of the certificate"},
		{"an expired certificate", verify(server, "--mrsigner", signer, "--at", "2001-01-01T00:00:00Z"), 1, "", "not yet at 2001-01-01T00:00:00Z"},
		{"no evidence", verify(ordinary.Listener.Addr().String(), "--mrsigner", signer), 2, "", "a certificate without a quote"},
		{"a client certificate is required", verify(mutual, "--mrsigner", signer), 2, "", "the server may require a certificate"},
		{"plain HTTP", verify(plain.Listener.Addr().String()), 2, "", "the answer is plain HTTP"},
		{"no TLS", verify(ssh), 2, "", `the answer is not TLS, it starts with "SSH-2"`},
		{"closed", verify(closes), 2, "", "does this port speak TLS?"},
		{"silent", verify(silent, "--timeout", "100ms"), 2, "", "no answer within 100ms"},
		{"nobody listens", verify(gone.Addr().String()), 2, "", "connection refused"},
		{"no port", verify("127.0.0.1"), 2, "", "want HOST:PORT"},
		{"nothing", verify(""), 2, "", "want HOST:PORT"},
		{"a file as well", verify(server, "quote.bin"), 2, "", "pass either FILE or --tls"},
		{"neither", []string{"quote", "verify"}, 2, "", "missing argument FILE"},
	} {
		exit, out, errs := clitest.Run(t, nil, c.args...)
		if exit != c.exit || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
			t.Errorf("%s: exit %d, want %d\n%s%s", c.name, exit, c.exit, out, errs)
		}
	}

	var result struct {
		Trusted bool
		Server  struct{ Address, Version, Format string }
	}
	text := clitest.MustRun(t, verify(server, "--mrsigner", signer, "-o", "json")...)
	if err := json.Unmarshal([]byte(text), &result); err != nil || !result.Trusted || result.Server.Address != server || result.Server.Version != "TLS 1.3" || result.Server.Format != string(ratls.FormatTagged) {
		t.Errorf("%v\n%s", err, text)
	}
}

// stolen returns a certificate with a key of its own and the evidence of another.
func stolen(t *testing.T, from *x509.Certificate) tls.Certificate {
	t.Helper()
	for _, extension := range from.Extensions {
		if extension.Id.String() == "2.23.133.5.4.9" {
			return selfSigned(t, []pkix.Extension{extension})
		}
	}
	t.Fatal("no evidence")
	return tls.Certificate{}
}

func selfSigned(t *testing.T, extensions []pkix.Extension) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{NotAfter: time.Now().Add(time.Hour), ExtraExtensions: extensions}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
