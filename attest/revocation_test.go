package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

// newCA returns the certificate of a CA and its key.
func newCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca, key
}

// newCRL returns a CRL with a number of entries.
func newCRL(t *testing.T, ca *x509.Certificate, key *ecdsa.PrivateKey, entries int) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), NextUpdate: time.Now().Add(time.Hour)}
	for i := range entries {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The entries of a CRL are not read before its signature is verified: a long list of someone
// else costs a hash of it.
func TestCRLSignatureFirst(t *testing.T) {
	ca, key := newCA(t)
	const entries = 10_000
	if crl, err := parseCRL(newCRL(t, ca, key, entries), ca); err != nil || len(crl.RevokedCertificateEntries) != entries {
		t.Fatalf("%v", err)
	}
	forged := newCRL(t, ca, key, entries)
	forged[len(forged)-1] ^= 1
	allocations := testing.AllocsPerRun(10, func() {
		if _, err := parseCRL(forged, ca); err == nil {
			t.Error("accepted a forged CRL")
		}
	})
	if allocations > 100 {
		t.Errorf("%.0f allocations for a forged CRL of %d entries", allocations, entries)
	}
}

// Only a CA that is allowed to sign CRLs can sign one.
func TestCRLIssuer(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		want   string
	}{
		{"without cRLSign", func(ca *x509.Certificate) { ca.KeyUsage = x509.KeyUsageCertSign }, "not allowed to sign CRLs"},
		{"without key usage", func(ca *x509.Certificate) { ca.KeyUsage = 0 }, "not allowed to sign CRLs"},
		{"no CA", func(ca *x509.Certificate) { ca.IsCA = false }, "not allowed to sign CRLs"},
		{"another name", func(ca *x509.Certificate) { ca.RawSubject = []byte{0x30, 0} }, `not issued by "CA"`},
	} {
		ca, key := newCA(t)
		der := newCRL(t, ca, key, 1)
		c.change(ca)
		if _, err := parseCRL(der, ca); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}
