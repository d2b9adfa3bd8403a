// Package challenge makes quotes fresh: a verifier hands out a nonce, the enclave or trust
// domain binds it to its quote together with data of its own, such as a public key, and the
// verifier checks both.
//
// # What is bound
//
// ReportData returns the report data that binds a nonce and data. Enclave and verifier
// compute the same. In another language: the first 32 bytes of the report data are the
// SHA-256 of
//
//	20 bytes  "confcom-challenge-v1", in ASCII
//	 8 bytes  the length of the nonce, as a big-endian integer
//	          the nonce: its bytes, not its text
//	 8 bytes  the length of the data, as a big-endian integer
//	          the data
//
// and the other 32 bytes are zero. The text of a nonce is base64url without padding (RFC
// 4648, section 5).
//
// # Who hands out nonces
//
// An Issuer keeps no list of its nonces: each has the time at which it was issued, and a
// message authentication code. So issuers with the same key accept each other's nonces, a
// restart with the same key loses none, and clients that ask for many cost no memory.
//
// The price is that a nonce is accepted any number of times until it expires. Anybody who has
// seen a quote can present it again in that time; what the quote binds stays the same. If
// that matters, bind the public key of the connection as data, or remember the nonces that
// have been used until they expire.
package challenge

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/sgx"
)

// domain separates what ReportData hashes from everything else that enclaves hash.
const domain = "confcom-challenge-v1"

// ReportData returns the report data of an enclave or a trust domain that answers a
// challenge: it binds the nonce and data, which may be empty.
func ReportData(nonce Nonce, data []byte) sgx.ReportData {
	bound := make([]byte, 0, len(domain)+8+len(nonce)+8+len(data))
	bound = append(bound, domain...)
	bound = binary.BigEndian.AppendUint64(bound, uint64(len(nonce)))
	bound = append(bound, nonce...)
	bound = binary.BigEndian.AppendUint64(bound, uint64(len(data)))
	bound = append(bound, data...)
	hash := sha256.Sum256(bound)
	var reportData sgx.ReportData
	copy(reportData[:], hash[:])
	return reportData
}

// The sizes of a nonce that RFC 9711 (EAT) allows, in bytes.
const (
	minNonce = 8
	maxNonce = 64
)

// Nonce is a number that is used once. That of an Issuer has 48 bytes.
type Nonce []byte

// String returns the nonce in base64url without padding.
func (n Nonce) String() string { return base64.RawURLEncoding.EncodeToString(n) }

// MarshalText returns the text that String returns.
func (n Nonce) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads the text that String returns: 8 to 64 bytes.
func (n *Nonce) UnmarshalText(text []byte) error {
	read, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	switch {
	case err != nil || slices.Contains(text, '\n') || slices.Contains(text, '\r'): // which the decoder skips
		return errors.New("the nonce is not base64url without padding")
	case len(read) < minNonce || len(read) > maxNonce:
		return fmt.Errorf("the nonce has %d bytes, want %d to %d", len(read), minNonce, maxNonce)
	}
	*n = read
	return nil
}

// The layout of an issuer's nonce: the time at which it was issued, in seconds since 1970 as
// a big-endian integer; random bytes; and the first bytes of an HMAC-SHA-256 of both.
const (
	offsetRandom = 8
	offsetMAC    = 24
	nonceSize    = 48 // in base64: 64 characters, and no padding
)

// minKey is the size of the smallest key of an Issuer, in bytes.
const minKey = 32

// skew is how far the clocks of two issuers with the same key may be apart.
const skew = time.Minute

var (
	// ErrForeign is wrapped by the error for a nonce that the issuer has not issued.
	ErrForeign = errors.New("the nonce was not issued here")
	// ErrExpired is wrapped by the error for a nonce that was issued too long ago.
	ErrExpired = errors.New("the nonce has expired")
)

// Issuer issues nonces and recognizes them. It is safe for concurrent use.
type Issuer struct {
	lifetime time.Duration
	keys     [][]byte
}

// NewIssuer returns an issuer of nonces that are valid for a time. It authenticates them with
// the first key, and accepts nonces of all of them, so that keys can be changed. A key has at
// least 32 random bytes. Without any, the issuer makes one, and no other issuer accepts its
// nonces.
func NewIssuer(lifetime time.Duration, keys ...[]byte) (*Issuer, error) {
	if lifetime < time.Second {
		return nil, fmt.Errorf("challenge: nonces that are valid for %s: want at least a second", lifetime)
	}
	i := &Issuer{lifetime: lifetime}
	for _, key := range keys {
		if len(key) < minKey {
			return nil, fmt.Errorf("challenge: a key of %d bytes, want at least %d", len(key), minKey)
		}
		i.keys = append(i.keys, slices.Clone(key))
	}
	if len(keys) == 0 {
		key := make([]byte, minKey)
		_, _ = rand.Read(key) // it never fails
		i.keys = [][]byte{key}
	}
	return i, nil
}

// Lifetime returns for how long a nonce is valid.
func (i *Issuer) Lifetime() time.Duration { return i.lifetime }

// Issue returns a new nonce.
func (i *Issuer) Issue(at time.Time) Nonce {
	nonce := make(Nonce, nonceSize)
	binary.BigEndian.PutUint64(nonce, uint64(at.Unix()))
	_, _ = rand.Read(nonce[offsetRandom:offsetMAC])
	copy(nonce[offsetMAC:], mac(i.keys[0], nonce))
	return nonce
}

// Check checks that a nonce was issued with one of the keys, and is valid at a time. The
// error wraps ErrForeign or ErrExpired.
func (i *Issuer) Check(nonce Nonce, at time.Time) error {
	issued := len(nonce) == nonceSize && slices.ContainsFunc(i.keys, func(key []byte) bool {
		return hmac.Equal(nonce[offsetMAC:], mac(key, nonce))
	})
	if !issued {
		return fmt.Errorf("challenge: %w: ask for one", ErrForeign)
	}
	// It is authentic, so its time is one that Issue has written.
	switch age := at.Sub(time.Unix(int64(binary.BigEndian.Uint64(nonce)), 0)); {
	case age > i.lifetime:
		return fmt.Errorf("challenge: %w: it was issued %s ago, and is valid for %s: ask for another one", ErrExpired, age.Round(time.Second), i.lifetime)
	case age < -skew:
		return fmt.Errorf("challenge: %w: it was issued %s in the future: set the clocks of the issuers", ErrForeign, -age.Round(time.Second))
	}
	return nil
}

// mac returns what a nonce ends with.
func mac(key []byte, nonce Nonce) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(domain))
	m.Write(nonce[:offsetMAC])
	return m.Sum(nil)[:nonceSize-offsetMAC]
}
