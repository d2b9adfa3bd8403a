package ear_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/attest/ear"
)

// key is the key of a verifier: everybody knows this one, which is that of RFC 8037.
const key = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
`

// A relying party has the keys of the verifier that it trusts, and gets a token from an
// attester.
func Example() {
	jwks, token := verifier() // jwks is the content of https://VERIFIER/.well-known/jwks.json

	keys, err := ear.ParseKeys(jwks)
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := keys.Verify(token, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claims.Submodule, claims.Status, claims.Appraisal.PolicyIDs)

	_, err = keys.Verify(token, time.Now().Add(time.Hour))
	fmt.Println(errors.Is(err, ear.ErrExpired))
	// Output:
	// sgx affirming [sha256:0123…]
	// true
}

// verifier is the other side: its published keys, and what it has signed.
func verifier() (jwks []byte, token string) {
	signer, err := ear.ParseSigner([]byte(key))
	if err != nil {
		panic(err)
	}
	vector := ear.Vector{Hardware: ear.Approved, RuntimeOpaque: ear.Approved} // ear.NewVector of a result
	token, err = signer.Sign(ear.Claims{
		Status: vector.Status(), IssuedAt: time.Now(), Expires: time.Now().Add(5 * time.Minute),
		VerifierID: ear.VerifierID{Developer: "example.com", Build: "1.0"},
		Submodule:  "sgx",
		Appraisal:  ear.Appraisal{Status: vector.Status(), Vector: vector, PolicyIDs: []string{"sha256:0123…"}},
	})
	if err != nil {
		panic(err)
	}
	return signer.JWKS(), token
}
