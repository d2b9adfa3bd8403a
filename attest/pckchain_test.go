package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/quote"
)

// templates are the three certificates of a chain before they are signed.
type templates struct{ root, intermediate, leaf *x509.Certificate }

func newTemplates() *templates {
	template := func(name string, pathLength int) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if pathLength >= 0 {
			c.IsCA, c.MaxPathLen, c.MaxPathLenZero, c.KeyUsage = true, pathLength, pathLength == 0, x509.KeyUsageCertSign
		}
		return c
	}
	t := &templates{root: template("root", 1), intermediate: template("intermediate", 0), leaf: template("leaf", -1)}
	t.leaf.ExtraExtensions = []pkix.Extension{{Id: sgxExtension(), Value: []byte{0x30, 0}}}
	return t
}

// sign returns the chain of the templates.
func (ts *templates) sign(t *testing.T) *pckChain {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	issue := func(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rootKey, intermediateKey := newKey(), newKey()
	chain, err := newMemory().chain(quote.NewPCKChain(
		issue(ts.leaf, ts.intermediate, newKey(), intermediateKey),
		issue(ts.intermediate, ts.root, intermediateKey, rootKey),
		issue(ts.root, ts.root, rootKey, rootKey),
	), nil)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestChainSignatures(t *testing.T) {
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	for _, c := range []struct {
		name   string
		change func(*templates)
		want   string // of the error; empty for none
	}{
		{"good", func(*templates) {}, ""},
		{"root without a path length", func(ts *templates) { ts.root.MaxPathLen = -1 }, ""},
		{"root with a path length that is too short", func(ts *templates) { ts.root.MaxPathLen, ts.root.MaxPathLenZero = 0, true }, `"root" does not allow a chain of this length`},
		{"intermediate is not a CA", func(ts *templates) {
			ts.intermediate.IsCA, ts.intermediate.MaxPathLenZero = false, false
		}, `"intermediate" is not allowed to sign certificates`},
		{"intermediate is not allowed to sign", func(ts *templates) { ts.intermediate.KeyUsage = x509.KeyUsageDigitalSignature }, `"intermediate" is not allowed to sign certificates`},
		{"leaf is a CA", func(ts *templates) { ts.leaf.IsCA = true }, `"leaf" is a CA`},
		{"critical extension", func(ts *templates) { ts.leaf.ExtraExtensions = append(ts.leaf.ExtraExtensions, critical) }, "unknown critical extension 1.2.3"},
		{"another hash", func(ts *templates) { ts.leaf.SignatureAlgorithm = x509.ECDSAWithSHA384 }, "ECDSA-SHA384"},
	} {
		templates := newTemplates()
		c.change(templates)
		err := templates.sign(t).signatures()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

// Certificates with the same names but other keys are not a chain.
func TestChainOfOtherKeys(t *testing.T) {
	a, b := newTemplates().sign(t), newTemplates().sign(t)
	mixed := authorities{intermediate: a.intermediate, root: b.root}
	mixed.check(nil)
	for name, chain := range map[string]*pckChain{
		`"leaf" is not signed by "intermediate"`: {leaf: b.leaf, authorities: a.authorities},
		`"intermediate" is not signed by "root"`: {leaf: a.leaf, authorities: &mixed},
	} {
		if err := chain.signatures(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v; want %q", err, name)
		}
	}
}

// Nobody fills the memory of a verifier with what is not under a trusted root, and the shortcut for
// known authorities refuses what the usual way refuses.
func TestMemoryOfStrangers(t *testing.T) {
	chain := newTemplates().sign(t)
	data := quote.NewPCKChain(chain.leaf, chain.intermediate, chain.root)
	m := newMemory()
	if _, err := m.chain(data, nil); err != nil {
		t.Fatal(err)
	}
	if len(m.chains.values)+len(m.authorities.values) > 0 || m.under(chain.authorities) == m {
		t.Error("an untrusted chain is kept, or what is under it")
	}

	key, err := p256Key(chain.root)
	if err != nil {
		t.Fatal(err)
	}
	trusted := *chain.authorities
	if trusted.check([]Root{{Name: "root", Key: key}}); m.under(&trusted) != m {
		t.Error("collateral under a trusted root is not kept")
	}
	first, others := cutCertificate(data.Data)
	m.authorities.put(string(others), &trusted)
	for between, accepted := range map[string]bool{"": true, "\n": true, "\x00": false, "text\n": false} {
		changed := quote.CertificationData{Type: quote.PCKChain, Data: slices.Concat(first, []byte(between), others)}
		_, err := m.chain(changed, []Root{{Name: "root", Key: key}})
		if _, cold := newMemory().chain(changed, []Root{{Name: "root", Key: key}}); (err == nil) != accepted || (cold == nil) != accepted {
			t.Errorf("%q between the certificates: %v, without a memory %v", between, err, cold)
		}
	}
}
