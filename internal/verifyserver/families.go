package verifyserver

import (
	"crypto/sha256"
	"sync"

	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/quote"
)

// maxFamilies is how many certificate chains a families remembers.
const maxFamilies = 1000

// families remembers the families of platforms by their certificate chains: to parse one
// takes a quarter of the time of a request for a known platform.
type families struct {
	mu    sync.Mutex
	known map[platformKey]pcs.Family
}

// platformKey identifies what a family follows from.
type platformKey struct {
	trustDomain bool
	chain       [sha256.Size]byte
}

// of is pcs.FamilyOf.
func (f *families) of(q *quote.Quote) (pcs.Family, error) {
	data := q.Signature.CertificationData
	if data.Type != quote.PCKChain {
		return pcs.FamilyOf(q)
	}
	key := platformKey{q.TD != nil, sha256.Sum256(data.Data)}
	f.mu.Lock()
	family, ok := f.known[key]
	f.mu.Unlock()
	if ok {
		return family, nil
	}
	family, err := pcs.FamilyOf(q)
	if err != nil {
		return pcs.Family{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = make(map[platformKey]pcs.Family)
	}
	if len(f.known) >= maxFamilies {
		for other := range f.known { // an arbitrary one
			delete(f.known, other)
			break
		}
	}
	f.known[key] = family
	return family, nil
}
