package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"sync"

	"github.com/confcom/confcom/quote"
)

// memory keeps the parts of proofs that have passed all checks which depend neither on the time
// nor on the policy. The key of a part is everything that its checks depend on, byte for byte, so
// that a part which is found has been checked. What fails is not kept.
//
// Its values are shared and must not be modified.
type memory struct {
	chains       cache[string, pckChain]
	authorities  cache[string, authorities]
	signers      cache[issuedKey, x509.Certificate]
	crls         cache[issuedKey, crl]
	tcbInfos     cache[signedKey, tcbInfo]
	qeIdentities cache[signedKey, qeIdentity]
}

// issuedKey is the key of something that a certificate has issued.
type issuedKey struct{ issuer, issued string }

// signedKey is the key of a text that a certificate has signed.
type signedKey struct {
	signer, text string
	signature    quote.Signature
}

// newMemory returns a memory whose limits are above what there is under Intel's root: two CAs, one
// signer of TCB info, some dozens of families.
func newMemory() *memory {
	return &memory{
		chains:       cache[string, pckChain]{limit: 1000},
		authorities:  cache[string, authorities]{limit: 20},
		signers:      cache[issuedKey, x509.Certificate]{limit: 20},
		crls:         cache[issuedKey, crl]{limit: 20},
		tcbInfos:     cache[signedKey, tcbInfo]{limit: 200},
		qeIdentities: cache[signedKey, qeIdentity]{limit: 20},
	}
}

// cache keeps a limited number of values. It is safe for concurrent use.
type cache[K comparable, T any] struct {
	limit int

	mu     sync.RWMutex
	values map[K]*T
}

// get returns the value of a key, or nil.
func (c *cache[K, T]) get(key K) *T {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.values[key]
}

// put keeps a value. If the cache is full, an arbitrary value makes room for it.
func (c *cache[K, T]) put(key K, value *T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = make(map[K]*T)
	}
	if len(c.values) >= c.limit {
		for other := range c.values {
			delete(c.values, other)
			break
		}
	}
	c.values[key] = value
}

// maxChain bounds the certificate chains that are kept, of quotes and of collateral, in bytes. Genuine
// ones have up to 4 KB, but a sender may put white space between its certificates.
const maxChain = 8 << 10

// chain returns the certificate chain of a quote with its checks.
func (m *memory) chain(data quote.CertificationData, roots []Root) (*pckChain, error) {
	data.Data = bytes.TrimRight(data.Data, "\x00 \t\r\n") // what may follow: one chain has one key
	m.chains.mu.RLock()
	known := m.chains.values[string(data.Data)] // a conversion here copies nothing
	m.chains.mu.RUnlock()
	if known != nil && data.Type == quote.PCKChain {
		return known, nil
	}
	chain, err := m.parseChain(data, roots)
	if err != nil {
		return nil, err
	}
	if chain.passed() && len(data.Data) <= maxChain {
		m.chains.put(string(data.Data), chain)
	}
	return chain, nil
}

// parseChain reads and checks a chain. Usually all that follows the first certificate is known
// from another platform.
func (m *memory) parseChain(data quote.CertificationData, roots []Root) (*pckChain, error) {
	first, others := cutCertificate(data.Data)
	if known := m.authorities.get(string(others)); known != nil && data.Type == quote.PCKChain {
		if certificates, err := quote.ParseCertificates(first); err == nil && len(certificates) == 1 {
			return newPCKChain(certificates[0], known), nil
		}
	}
	certificates, err := chainOf(data)
	if err != nil {
		return nil, err
	}
	a := &authorities{intermediate: certificates[1], root: certificates[2]}
	a.check(roots)
	chain := newPCKChain(certificates[0], a)
	if a.passed() && chain.passed() && len(data.Data) <= maxChain && isPEM(others, a.intermediate, a.root) {
		m.authorities.put(string(others), a)
	}
	return chain, nil
}

// isPEM reports whether quote.ParseCertificates would read these certificates in a text. It saves
// the time to parse them.
func isPEM(text []byte, certificates ...*x509.Certificate) bool {
	for _, c := range certificates {
		block, rest := pem.Decode(text)
		if block == nil || len(block.Headers) > 0 || !bytes.Equal(block.Bytes, c.Raw) || bytes.Count(text[:len(text)-len(rest)], []byte("-----BEGIN")) != 1 {
			return false
		}
		text = bytes.TrimLeft(rest, " \t\r\n")
	}
	return len(bytes.TrimRight(text, "\x00")) == 0
}

// cutCertificate splits certificates in PEM after the first one. It leaves a text as it is in which
// more than white space is between them.
func cutCertificate(text []byte) (first, others []byte) {
	begin := []byte("-----BEGIN CERTIFICATE-----")
	if start := bytes.Index(text, begin); start >= 0 {
		if next := bytes.Index(text[start+len(begin):], begin); next >= 0 {
			end := start + len(begin) + next
			if bytes.IndexByte(text[:end], 0) < 0 { // NULs may follow the last one only
				return text[:end], text[end:]
			}
		}
	}
	return text, nil
}

// under returns the memory for collateral under authorities: an empty one if they are not under a
// trusted root, so that nobody else can fill the caches.
func (m *memory) under(a *authorities) *memory {
	if a.passed() {
		return m
	}
	return newMemory()
}

// crl returns the CRL of an issuer.
func (m *memory) crl(der []byte, issuer *x509.Certificate) (*crl, error) {
	m.crls.mu.RLock()
	known := m.crls.values[issuedKey{string(issuer.Raw), string(der)}]
	m.crls.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	list, err := parseCRL(der, issuer)
	if err != nil {
		return nil, err
	}
	read := indexCRL(list)
	m.crls.put(issuedKey{string(issuer.Raw), string(der)}, read)
	return read, nil
}

// signer returns the signer of TCB info or QE identities in an issuer chain.
func (m *memory) signer(chain string, root *x509.Certificate) (*x509.Certificate, error) {
	m.signers.mu.RLock()
	known := m.signers.values[issuedKey{string(root.Raw), chain}]
	m.signers.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	signer, err := parseTCBSigner(chain, root)
	if err != nil {
		return nil, err
	}
	if len(chain) <= maxChain {
		m.signers.put(issuedKey{string(root.Raw), chain}, signer)
	}
	return signer, nil
}

// tcbInfo returns the TCB info in a text that a certificate has signed.
func (m *memory) tcbInfo(text string, signature quote.Signature, signer *x509.Certificate) (*tcbInfo, error) {
	return signed(&m.tcbInfos, parseTCBInfo, text, signature, signer)
}

// qeIdentity is tcbInfo for QE identities.
func (m *memory) qeIdentity(text string, signature quote.Signature, signer *x509.Certificate) (*qeIdentity, error) {
	return signed(&m.qeIdentities, parseQEIdentity, text, signature, signer)
}

// signed returns what a text that a certificate has signed says.
func signed[T any](known *cache[signedKey, T], parse func([]byte) (*T, error), text string, signature quote.Signature, signer *x509.Certificate) (*T, error) {
	key := signedKey{string(signer.Raw), text, signature}
	if value := known.get(key); value != nil {
		return value, nil
	}
	data := []byte(text)
	if err := checkSignedText(data, signature, signer); err != nil {
		return nil, err
	}
	value, err := parse(data)
	if err != nil {
		return nil, err
	}
	known.put(key, value)
	return value, nil
}
