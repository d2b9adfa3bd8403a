package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newKey writes a new key and returns its file and that of its public key.
func newKey(t *testing.T) (private, public string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return writePrivate(t, key), writePEM(t, "PUBLIC KEY", der), key
}

func writePrivate(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSign signs a release and checks the signatures as cosign does: with the standard
// library and, if there is one, with cosign itself.
func TestSign(t *testing.T) {
	dir, to := standInRelease(t), serve(t)
	private, public, key := newKey(t)
	if err := run(t.Context(), []string{"sign", "--key", private, dir, to}); err == nil || !strings.Contains(err.Error(), "push the release first") {
		t.Errorf("sign before push: %v", err)
	}
	if err := push(t.Context(), dir, to, io.Discard); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if err := sign(t.Context(), dir, to, key, &log); err != nil {
		t.Fatal(err)
	}
	signed := regexp.MustCompile(`(?m)^(\S+)@(sha256:\S+) \(signed\)$`).FindAllStringSubmatch(log.String(), -1)
	if len(signed) != len(images)+1 {
		t.Fatalf("signed are\n%s, want %d images and the chart", &log, len(images))
	}
	for _, m := range signed {
		repository, digest := m[1], m[2]
		signature := pull(t, repository+":"+strings.Replace(digest, ":", "-", 1)+".sig")
		manifest, err := signature.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		layers, err := signature.Layers()
		if err != nil || len(layers) != 1 || len(manifest.Layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		text := content(t, layers[0])
		value, err := base64.StdEncoding.DecodeString(manifest.Layers[0].Annotations["dev.cosignproject.cosign/signature"])
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(text); !ecdsa.VerifyASN1(&key.PublicKey, sum[:], value) {
			t.Errorf("%s: the signature is not of this payload: %s", repository, text)
		}
		var about payload
		if err := json.Unmarshal(text, &about); err != nil {
			t.Fatal(err)
		}
		if c := about.Critical; c.Image.Digest != digest || c.Identity.Reference != repository || c.Type != "cosign container image signature" {
			t.Errorf("signed for %s is %s", repository, text)
		}
	}

	cosign, err := exec.LookPath("cosign")
	if err != nil {
		t.Log("NOT RUN: cosign is not on the PATH: the signatures are checked with the standard library only")
		return
	}
	_, other, _ := newKey(t)
	for _, m := range signed {
		verify := func(key string) (string, error) {
			return output(t.Context(), dir, cosign, "verify", "--key", key, "--insecure-ignore-tlog", "--allow-http-registry", m[1]+"@"+m[2])
		}
		if text, err := verify(public); err != nil || !strings.Contains(text, m[2]) {
			t.Errorf("cosign verify: %v: %s", err, text)
		}
		if text, err := verify(other); err == nil {
			t.Errorf("cosign accepts another key: %s", text)
		}
	}
}

// TestReadKey checks that other keys are refused.
func TestReadKey(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, public, _ := newKey(t)
	for want, file := range map[string]string{
		"no block PRIVATE KEY":      public,
		"not an ECDSA key":          writePrivate(t, other),
		"on the curve P-256":        writePrivate(t, curve),
		"asn1":                      writePEM(t, "PRIVATE KEY", []byte("x")),
		"no such file or directory": filepath.Join(t.TempDir(), "none"),
	} {
		if _, err := readKey(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := run(t.Context(), []string{"sign", "a", "b"}); err == nil || !strings.Contains(err.Error(), "--key is missing") {
		t.Errorf("without a key: %v", err)
	}
}
