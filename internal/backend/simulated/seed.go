package simulated

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// seed is where all keys come from. It is public: a simulation has no secret.
const seed = "confcom simulated SGX platform: this is not a secret"

// derive returns n bytes that depend on the seed and on what they are for.
func derive(n int, purpose string) []byte {
	b, err := hkdf.Key(sha256.New, []byte(seed), nil, purpose, n)
	if err != nil {
		// HKDF fails only beyond 255 hashes of output; no caller asks for more
		// than two.
		panic(fmt.Sprintf("simulated: derive %d bytes: %v", n, err))
	}
	return b
}

// deriveKey returns the P-256 key for a purpose.
func deriveKey(purpose string) (*ecdsa.PrivateKey, error) {
	// One candidate in 2^32 is no valid scalar; then the next one is taken.
	for try := range 4 {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), derive(32, fmt.Sprintf("%s, try %d", purpose, try)))
		if err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("simulated: no key for %s", purpose)
}
