package attesttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// seed is what all keys are derived from. It is public: nothing here is secret.
const seed = "confcom simulated SGX platform: this is not a secret"

// derive returns n bytes that depend on the seed and on their purpose.
func derive(n int, purpose string) []byte {
	b, err := hkdf.Key(sha256.New, []byte(seed), nil, purpose, n)
	if err != nil {
		// HKDF fails only for more than 255 hashes of output, and all callers need twelve at most.
		panic(fmt.Sprintf("attesttest: derive %d bytes: %v", n, err))
	}
	return b
}

// deriveKey returns the P-256 key of a purpose.
func deriveKey(purpose string) (*ecdsa.PrivateKey, error) {
	// One candidate in 2^32 is not a valid scalar; then the next one is used.
	for try := range 4 {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), derive(32, fmt.Sprintf("%s, try %d", purpose, try)))
		if err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("attesttest: derive key: no valid scalar for %q", purpose)
}
