package dcap

import (
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
)

// Kind is the kind of this backend.
const Kind = "dcap"

// describeInterval is the time between two looks at the certificates for the description.
const describeInterval = 10 * time.Second

// description returns the description of the backend. The certificates are those that the
// workers keep, which quotes carry.
func (b *Backend) description() aesm.Backend {
	b.mu.Lock()
	now := time.Now()
	if now.Sub(b.described) < describeInterval {
		defer b.mu.Unlock()
		return b.last
	}
	if b.last != (aesm.Backend{}) {
		b.described = now // others need not wait: they get the last one
	}
	b.mu.Unlock()
	d := describe(b.config.Certificates)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.described = d, now
	return d
}

// describe returns the description of a backend whose workers keep their certificates in
// dir. A PCK certificate that cannot be read, as verifiers read it, is not described.
func describe(dir string) aesm.Backend {
	d := aesm.Backend{Kind: Kind}
	kept, ok := certificates.LastKept(dir)
	if !ok {
		return d
	}
	pck, err := kept.PCK()
	if err != nil {
		return d
	}
	if platform, err := attest.ParsePlatform(pck); err == nil {
		d.Certified, d.Components, d.PCESVN = true, platform.Components, platform.PCESVN
	}
	return d
}
