package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife exceeds any test run.
const certificateLife = 365 * 24 * time.Hour

// identity is the holder of a certificate. To Kubernetes, the common name is the user
// and the organization is the group. Each certificate is valid for clients and servers,
// so a component needs only one.
type identity struct {
	file         string
	commonName   string
	organization string
	dnsNames     []string
	addresses    []string
}

func identities() []identity {
	loopback := []string{"127.0.0.1"}
	return []identity{
		{file: "admin", commonName: "confcom-admin", organization: "system:masters"},
		{
			file: "kube-apiserver", commonName: "kube-apiserver", organization: "system:masters",
			dnsNames:  []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			addresses: []string{serviceIP},
		},
		{file: "kube-controller-manager", commonName: "system:kube-controller-manager", addresses: loopback},
		{file: "kube-scheduler", commonName: "system:kube-scheduler", addresses: loopback},
		{
			file: "kubelet", commonName: "system:node:" + nodeName, organization: "system:nodes",
			dnsNames: []string{nodeName}, addresses: []string{nodeIP},
		},
	}
}

// writePKI creates the cluster's certificate authority, a certificate for each
// identity, and the key that signs the tokens of service accounts.
func writePKI(l layout) error {
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "confcom-cluster"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caKey, err := issue(l, "ca", ca, nil, nil)
	if err != nil {
		return err
	}
	for i, id := range identities() {
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2),
			Subject:      pkix.Name{CommonName: id.commonName},
			KeyUsage:     x509.KeyUsageDigitalSignature,
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
			DNSNames:     id.dnsNames,
		}
		if id.organization != "" {
			cert.Subject.Organization = []string{id.organization}
		}
		for _, a := range id.addresses {
			cert.IPAddresses = append(cert.IPAddresses, net.ParseIP(a))
		}
		if _, err := issue(l, id.file, cert, ca, caKey); err != nil {
			return err
		}
	}
	key, err := newKey(l, "service-accounts")
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("encode public key of service accounts: %w", err)
	}
	return writePEM(l.path("pki", "service-accounts.pub"), "PUBLIC KEY", public)
}

// issue writes a certificate and its new key. Without a parent it is self-signed.
func issue(l layout, file string, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	key, err := newKey(l, file)
	if err != nil {
		return nil, err
	}
	if parent == nil {
		parent, parentKey = cert, key
	}
	// Allow for a clock that is set back by up to an hour.
	cert.NotBefore = time.Now().Add(-time.Hour)
	cert.NotAfter = time.Now().Add(certificateLife)
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("issue certificate of %s: %w", file, err)
	}
	return key, writePEM(l.Cert(file), "CERTIFICATE", der)
}

func newKey(l layout, file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key of %s: %w", file, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key of %s: %w", file, err)
	}
	return key, writePEM(l.Key(file), "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return writePrivate(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
