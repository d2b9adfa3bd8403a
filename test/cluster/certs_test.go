package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func TestCertificatesVerify(t *testing.T) {
	l := layout{State: t.TempDir()}
	if err := writePKI(l); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(l.Cert("ca"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)

	for _, id := range identities() {
		pair, err := tls.LoadX509KeyPair(l.Cert(id.file), l.Key(id.file))
		if err != nil {
			t.Errorf("%s: %v", id.file, err)
			continue
		}
		if got := pair.Leaf.Subject.CommonName; got != id.commonName {
			t.Errorf("%s: common name %q, want %q", id.file, got, id.commonName)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("verify %s as a client: %v", id.file, err)
		}
		for _, name := range append(id.dnsNames, id.addresses...) {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Errorf("verify %s as the server %s: %v", id.file, name, err)
			}
		}
	}
}

func TestKeysArePrivate(t *testing.T) {
	l := layout{State: t.TempDir()}
	if err := writePKI(l); err != nil {
		t.Fatal(err)
	}
	if err := writeKubeconfig(l, "admin"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{l.Key("ca"), l.Key("service-accounts"), l.kubeconfig("admin")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", path, info.Mode().Perm())
		}
	}
}
