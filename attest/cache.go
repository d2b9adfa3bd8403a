package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/confcom/confcom/quote"
)

// digest is the SHA-256 of everything that a cached value depends on.
type digest [sha256.Size]byte

// cache keeps values that have passed all checks which do not depend on the time or the
// policy. Its values are shared and must not be modified.
type cache[T any] struct {
	limit int // of values

	mu     sync.Mutex
	values map[digest]*T
}

// get returns the value of a key, or nil.
func (c *cache[T]) get(key digest) *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[key]
}

// put keeps a value. If the cache is full, an arbitrary value makes room for it.
func (c *cache[T]) put(key digest, value *T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = make(map[digest]*T)
	}
	if len(c.values) >= c.limit {
		for other := range c.values {
			delete(c.values, other)
			break
		}
	}
	c.values[key] = value
}

// cachedChain returns the certificate chain of a quote with its checks, from the cache if it
// passed them before.
func (v *Verifier) cachedChain(data quote.CertificationData) (*pckChain, error) {
	key := digest(sha256.Sum256(data.Data))
	if chain := v.chains.get(key); chain != nil && data.Type == quote.PCKChain {
		return chain, nil
	}
	chain, err := newPCKChain(data)
	if err != nil {
		return nil, err
	}
	if chain.check(v.roots) {
		v.chains.put(key, chain)
	}
	return chain, nil
}

// cachedCollateral returns collateral with its checks for the CAs of a chain, from the
// cache if it passed them before.
func (v *Verifier) cachedCollateral(c *Collateral, chain *pckChain) *checkedCollateral {
	hash := sha256.New()
	for _, part := range [][]byte{
		chain.root.Raw, chain.intermediate.Raw, c.RootCRL, c.PCKCRL,
		[]byte(c.TCBInfo), c.TCBInfoSignature[:], []byte(c.TCBInfoIssuerChain),
		[]byte(c.QEIdentity), c.QEIdentitySignature[:], []byte(c.QEIdentityIssuerChain),
	} {
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	key := digest(hash.Sum(nil))
	if k := v.collateral.get(key); k != nil {
		return k
	}
	k := checkCollateral(c, chain)
	if k.passed() {
		v.collateral.put(key, k)
	}
	return k
}
