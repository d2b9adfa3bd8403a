package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// tokenType is the type of an EAR in its JOSE header. Tokens of other kinds that are signed with
// the same key have another one (RFC 8725, section 3.11).
const tokenType = "eat+jwt"

// maxToken bounds what Verify reads, and maxKeys how many keys there are.
const (
	maxToken = 1 << 20
	maxKeys  = 16
)

// skew is how far in the future a token may have been issued, or may become valid, by its
// verifier's clock.
const skew = time.Minute

// algorithms returns the algorithms of signatures. All are for public keys: a relying party
// cannot be made to take one for a secret.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.EdDSA}
}

// algorithmOf returns the one algorithm that a public key is for.
func algorithmOf(key crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		}
		return "", fmt.Errorf("a key of the curve %s, want P-256, P-384 or Ed25519", key.Curve.Params().Name)
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	}
	return "", fmt.Errorf("a key of the type %T, want P-256, P-384 or Ed25519", key)
}

// published returns a public key as it is published. Its ID is its thumbprint (RFC 7638), so that
// all copies of a verifier call it the same.
func published(key crypto.PublicKey) (jose.JSONWebKey, error) {
	algorithm, err := algorithmOf(key)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	k := jose.JSONWebKey{Key: key, Algorithm: string(algorithm), Use: "sig"}
	thumbprint, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	k.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return k, nil
}

// Signer signs EARs. It is safe for concurrent use.
type Signer struct {
	signer jose.Signer
	jwks   []byte
}

// ParseSigner reads the keys of a verifier, in PEM. The first one is a private key (PKCS #8) and
// signs. The others, private or public (PKIX), are published besides it: the next key, before
// it signs, and the former one, until what it has signed expires. Keys are of the curves P-256,
// P-384 or Ed25519. Anything that is not understood is an error.
func ParseSigner(text []byte) (*Signer, error) {
	var signer jose.Signer
	var set jose.JSONWebKeySet
	rest := text
	for number := 1; ; number++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		private, public, err := parseKey(block)
		var key jose.JSONWebKey
		if err == nil {
			key, err = published(public)
		}
		switch {
		case err != nil:
		case number > maxKeys:
			err = fmt.Errorf("more than %d keys", maxKeys)
		case len(set.Key(key.KeyID)) > 0:
			err = errors.New("the same key again")
		case number == 1 && private == nil:
			err = errors.New("a public key: the first key signs, so it is a private one")
		case number == 1:
			options := (&jose.SignerOptions{}).WithType(tokenType)
			signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: key.KeyID}}, options)
		}
		if err != nil {
			return nil, fmt.Errorf("ear: key %d: %w", number, err)
		}
		set.Keys = append(set.Keys, key)
	}
	// A block that is not complete is skipped, or is the rest.
	if begun := strings.Count(string(text), "-----BEGIN "); begun != len(set.Keys) {
		return nil, fmt.Errorf("ear: %d of %d PEM blocks are complete", len(set.Keys), begun)
	}
	if signer == nil {
		return nil, errors.New("ear: no key in PEM: make one with 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256'")
	}
	jwks, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("ear: %w", err)
	}
	return &Signer{signer, jwks}, nil
}

func parseKey(block *pem.Block) (private crypto.PrivateKey, public crypto.PublicKey, err error) {
	switch block.Type {
	case "PRIVATE KEY":
		if private, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			return nil, nil, err
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, nil, fmt.Errorf("a key of the type %T, want P-256, P-384 or Ed25519", private)
		}
		return private, signer.Public(), nil
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
		return nil, public, err
	}
	return nil, nil, fmt.Errorf("%q, want \"PRIVATE KEY\" or \"PUBLIC KEY\": convert it with 'openssl pkcs8 -topk8 -nocrypt'", block.Type)
}

// JWKS returns the public keys as a JWK set (RFC 7517), for relying parties.
func (s *Signer) JWKS() []byte { return s.jwks }

// Sign returns an EAR as a JWT.
func (s *Signer) Sign(c Claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("ear: %w", err)
	}
	signed, err := s.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("ear: sign: %w", err)
	}
	return signed.CompactSerialize()
}

// Keys are the keys of verifiers that a relying party trusts.
type Keys struct{ byID map[string]jose.JSONWebKey }

// ParseKeys reads a JWK set. It ignores keys that are not for signatures of EARs, as RFC 7517
// requires, and private keys are an error: who can read them can sign.
func ParseKeys(jwks []byte) (*Keys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, fmt.Errorf("ear: parse JWK set: %w", err)
	}
	keys := &Keys{make(map[string]jose.JSONWebKey)}
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(text); err != nil {
			continue // of a type that go-jose does not know
		}
		algorithm, err := algorithmOf(key.Key)
		switch _, private := key.Key.(crypto.Signer); {
		case private:
			return nil, errors.New("ear: parse JWK set: it has a private key: replace that key, everybody may know it")
		case err != nil || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != string(algorithm) || key.KeyID == "":
			continue
		}
		if _, found := keys.byID[key.KeyID]; found {
			return nil, fmt.Errorf("ear: parse JWK set: two keys with the ID %q", key.KeyID)
		}
		key.Algorithm = string(algorithm)
		keys.byID[key.KeyID] = key
	}
	if len(keys.byID) == 0 {
		return nil, errors.New("ear: parse JWK set: no key with an ID for ES256, ES384 or EdDSA")
	}
	return keys, nil
}

var (
	// ErrSignature is wrapped by the error for a token that none of the keys has signed.
	ErrSignature = errors.New("the token is not signed by a trusted key")
	// ErrExpired is wrapped by the error for a token that has expired.
	ErrExpired = errors.New("the token has expired")
	// ErrStatus is wrapped by the error for a token with a status that the caller does not
	// accept.
	ErrStatus = errors.New("the attester is not trusted")
)

// Verify verifies an EAR as of a time. It accepts the status Affirming, and the ones that the
// caller names besides.
//
// The error wraps ErrSignature, ErrExpired or ErrStatus. With ErrStatus, the claims are not
// nil: they have the reason. A nil error says that a trusted verifier trusted the attester by
// the policy in Appraisal.PolicyIDs, not who presents the token: see Appraisal.Binds.
func (k *Keys) Verify(token string, at time.Time, accepted ...Status) (*Claims, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("ear: a token of more than %d bytes", maxToken)
	}
	parsed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		return nil, fmt.Errorf("ear: %w: %w", ErrSignature, err)
	}
	header := parsed.Signatures[0].Protected
	if kind, _ := header.ExtraHeaders[jose.HeaderType].(string); kind != tokenType {
		return nil, fmt.Errorf("ear: a token of the type %.40q, want %q", kind, tokenType)
	}
	key, found := k.byID[header.KeyID]
	switch {
	case !found:
		return nil, fmt.Errorf("ear: %w: its key has the ID %.60q: get the verifier's keys again", ErrSignature, header.KeyID)
	case header.Algorithm != key.Algorithm:
		return nil, fmt.Errorf("ear: %w: it is signed with %s, and its key is for %s", ErrSignature, header.Algorithm, key.Algorithm)
	}
	payload, err := parsed.Verify(key.Key)
	if err != nil {
		return nil, fmt.Errorf("ear: %w: %w", ErrSignature, err)
	}
	claims := new(Claims)
	if err := claims.UnmarshalJSON(payload); err != nil {
		return nil, fmt.Errorf("ear: %w", err)
	}
	switch {
	case !at.Before(claims.Expires):
		return nil, fmt.Errorf("ear: %w, on %s", ErrExpired, claims.Expires.UTC().Format(time.RFC3339))
	case claims.IssuedAt.After(at.Add(skew)):
		return nil, fmt.Errorf("ear: the token is issued in the future, on %s", claims.IssuedAt.UTC().Format(time.RFC3339))
	case claims.NotBefore.After(at.Add(skew)):
		return nil, fmt.Errorf("ear: the token is not valid before %s", claims.NotBefore.UTC().Format(time.RFC3339))
	}
	if claims.Status == Affirming || slices.Contains(accepted, claims.Status) {
		return claims, nil
	}
	return claims, fmt.Errorf("ear: %w: its status is %q", ErrStatus, claims.Status)
}
