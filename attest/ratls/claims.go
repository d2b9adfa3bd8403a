package ratls

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// The claims of tagged evidence. The specification says that all others are ignored.
const (
	claimKeyHash = "pubkey-hash"
	claimNonce   = "nonce"
)

// The hash algorithms of a hash-entry, by their numbers in IANA's registry "Named Information".
const (
	algorithmSHA256 = 1
	algorithmSHA384 = 7
	algorithmSHA512 = 8
)

// bindClaims checks that the claims of tagged evidence bind a key, and that the report data
// binds the claims. It returns the claim nonce if there is one.
func bindClaims(r reportData, e *evidence.Evidence, key []byte) (nonce []byte, detail string, err error) {
	data, found := e.Attached(evidence.CustomClaims)
	if !found {
		return nil, "", errors.New("there are no claims")
	}
	hashes := []hash{sha256Of("the claims", data)}
	if r.tee == quote.TDX {
		hashes = append(hashes, r.intelHash("the claims", data))
	}
	bound, err := r.expect(hashes...)
	if err != nil {
		return nil, "", err
	}
	claims, err := parseClaims(data)
	if err != nil {
		return nil, "", fmt.Errorf("claims: %w", err)
	}
	if err := claims.keyHash.check(key); err != nil {
		return nil, "", fmt.Errorf("claim %q: %w", claimKeyHash, err)
	}
	return claims.nonce, fmt.Sprintf("%s, which have the %s of the key", bound, claims.keyHash.name()), nil
}

// claims are the claims of tagged evidence.
type claims struct {
	keyHash hashEntry
	nonce   []byte
}

// hashEntry is a CBOR array of the number of an algorithm and a hash.
type hashEntry struct {
	_         struct{} `cbor:",toarray"`
	Algorithm uint64
	Sum       []byte
}

func (h hashEntry) name() string {
	switch h.Algorithm {
	case algorithmSHA256:
		return "SHA-256"
	case algorithmSHA384:
		return "SHA-384"
	case algorithmSHA512:
		return "SHA-512"
	}
	return fmt.Sprintf("hash with algorithm %d", h.Algorithm)
}

// check checks that h is a hash of data.
func (h hashEntry) check(data []byte) error {
	var sum []byte
	switch h.Algorithm {
	case algorithmSHA256:
		s := sha256.Sum256(data)
		sum = s[:]
	case algorithmSHA384:
		s := sha512.Sum384(data)
		sum = s[:]
	case algorithmSHA512:
		s := sha512.Sum512(data)
		sum = s[:]
	default:
		return fmt.Errorf("unknown hash algorithm %d, want %d (SHA-256), %d (SHA-384) or %d (SHA-512)",
			h.Algorithm, algorithmSHA256, algorithmSHA384, algorithmSHA512)
	}
	if !bytes.Equal(h.Sum, sum) {
		return fmt.Errorf("%x is not the %s of the key of the certificate", h.Sum, h.name())
	}
	return nil
}

// parseClaims reads a CBOR map of claims.
func parseClaims(data []byte) (claims, error) {
	var c claims
	members, err := decode[map[string]cbor.RawMessage](data)
	if err != nil {
		return c, err
	}
	entry, found := members[claimKeyHash]
	if !found {
		return c, fmt.Errorf("there is no %q", claimKeyHash)
	}
	if c.keyHash, err = parseHashEntry(entry); err != nil {
		return c, fmt.Errorf("%q: %w", claimKeyHash, err)
	}
	if nonce, found := members[claimNonce]; found {
		if c.nonce, err = byteString(nonce); err != nil {
			return c, fmt.Errorf("%q: %w", claimNonce, err)
		}
	}
	return c, nil
}

// parseHashEntry reads a byte string with a hash-entry.
func parseHashEntry(item cbor.RawMessage) (hashEntry, error) {
	data, err := byteString(item)
	if err != nil {
		return hashEntry{}, err
	}
	parts, err := decode[[]cbor.RawMessage](data)
	switch {
	case err != nil:
		return hashEntry{}, err
	case len(parts) != 2:
		return hashEntry{}, fmt.Errorf("an array of %d, want an algorithm and a hash", len(parts))
	}
	var h hashEntry
	if h.Algorithm, err = decode[uint64](parts[0]); err != nil {
		return hashEntry{}, fmt.Errorf("algorithm: %w", err)
	}
	if h.Sum, err = byteString(parts[1]); err != nil {
		return hashEntry{}, fmt.Errorf("hash: %w", err)
	}
	return h, nil
}

// decode reads one CBOR item. Lengths must be definite, as the specification requires.
func decode[T any](data []byte) (item T, err error) {
	const most = 64 // members of a map or an array
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: most,
		MaxMapPairs:      most,
	}.DecMode()
	if err != nil {
		return item, err
	}
	err = mode.Unmarshal(data, &item)
	return item, err
}

// byteString reads a CBOR byte string. The decoder alone would also take null and arrays of
// numbers.
func byteString(item cbor.RawMessage) ([]byte, error) {
	const majorType, byteStrings = 5, 2 // RFC 8949, section 3.1
	if len(item) == 0 || item[0]>>majorType != byteStrings {
		return nil, errors.New("not a byte string")
	}
	return decode[[]byte](item)
}

// newClaims returns the claims that bind a key.
func newClaims(key []byte) ([]byte, error) {
	sum := sha256.Sum256(key)
	entry, err := cbor.Marshal(hashEntry{Algorithm: algorithmSHA256, Sum: sum[:]})
	if err != nil {
		return nil, err
	}
	return cbor.Marshal(map[string][]byte{claimKeyHash: entry})
}

// taggedEvidence returns tagged evidence. Source: "Interoperable RA-TLS SGX / TDX Evidence Tags and
// Formats", section "Evidence Data Formats".
func taggedEvidence(quote, claims []byte) ([]byte, error) {
	const tagQuote = 60000
	return cbor.Marshal(cbor.Tag{Number: tagQuote, Content: [][]byte{quote, claims}})
}
