package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/challenge"
)

func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func newKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	if curve == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// inPEM returns a private or public key in PEM.
func inPEM(t testing.TB, key any) string {
	t.Helper()
	kind := "PRIVATE KEY"
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		kind = "PUBLIC KEY"
		if der, err = x509.MarshalPKIXPublicKey(key); err != nil {
			t.Fatal(err)
		}
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newSigner(t testing.TB, keys ...any) *Signer {
	t.Helper()
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(inPEM(t, key))
	}
	s, err := ParseSigner([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keysOf(t testing.TB, s *Signer) *Keys {
	t.Helper()
	keys, err := ParseKeys(s.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// claims returns the claims of a trusted attester.
func claims() Claims {
	return Claims{
		Status: Affirming, IssuedAt: now(), Expires: now().Add(5 * time.Minute),
		VerifierID: VerifierID{"example", "1"}, Nonce: []byte("noncenon"), Submodule: "sgx",
		Appraisal: Appraisal{Profile: ResultProfile, Status: Affirming, Vector: Vector{Hardware: Approved}, PolicyIDs: []string{"policy"}},
	}
}

func sign(t testing.TB, s *Signer, c Claims) string {
	t.Helper()
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forge makes a token of a header and a payload, with the signature that a function returns.
func forge(header, payload string, signature func([]byte) []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature([]byte(signed)))
}

// es256 signs like a verifier that does not check what it signs.
func es256(t testing.TB, key crypto.Signer) func([]byte) []byte {
	return func(signed []byte) []byte {
		hash := sha256.Sum256(signed)
		r, s, err := ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), hash[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

// Tokens with which relying parties have been deceived.
func TestAttacks(t *testing.T) {
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	signer := newSigner(t, key)
	keys := keysOf(t, signer)
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(signer.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	kid := set.Keys[0].Kid
	text, err := json.Marshal(claims())
	if err != nil {
		t.Fatal(err)
	}
	payload := string(text)
	header := func(algorithm string, more string) string {
		return `{"alg":"` + algorithm + `","kid":"` + kid + `","typ":"eat+jwt"` + more + `}`
	}
	secret := func(key string) func([]byte) []byte {
		return func(signed []byte) []byte {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write(signed)
			return mac.Sum(nil)
		}
	}
	public, err := json.Marshal(map[string]any{"keys": json.RawMessage(signer.JWKS())})
	if err != nil {
		t.Fatal(err)
	}
	otherJWK, err := published(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := json.Marshal(otherJWK)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := func([]byte) []byte { return nil }
	good := forge(header("ES256", ""), payload, es256(t, key))
	if _, err := keys.Verify(good, now()); err != nil {
		t.Fatalf("the token that the attacks change: %v", err)
	}
	for name, token := range map[string]string{
		"no signature":                         forge(header("none", ""), payload, unsigned),
		"no signature, in capitals":            forge(header("NONE", ""), payload, unsigned),
		"an empty signature":                   forge(header("ES256", ""), payload, unsigned),
		"a signature of zeros":                 forge(header("ES256", ""), payload, func([]byte) []byte { return make([]byte, 64) }),
		"the public key as a secret":           forge(header("HS256", ""), payload, secret(string(signer.JWKS()))),
		"the public key in PEM as a secret":    forge(header("HS256", ""), payload, secret(inPEM(t, key.Public()))),
		"the key set as a secret":              forge(header("HS256", ""), payload, secret(string(public))),
		"another key":                          forge(header("ES256", ""), payload, es256(t, other)),
		"another key, in the header":           forge(header("ES256", `,"jwk":`+string(embedded)), payload, es256(t, other)),
		"another key, at a URL":                forge(header("ES256", `,"jku":"https://example.com/jwks.json"`), payload, es256(t, other)),
		"another key, with its own ID":         forge(`{"alg":"ES256","kid":"`+otherJWK.KeyID+`","typ":"eat+jwt"}`, payload, es256(t, other)),
		"no key ID":                            forge(`{"alg":"ES256","typ":"eat+jwt"}`, payload, es256(t, key)),
		"another algorithm of the key":         forge(header("ES384", ""), payload, es256(t, key)),
		"an algorithm of another kind of key":  forge(header("EdDSA", ""), payload, es256(t, key)),
		"another type":                         forge(strings.Replace(header("ES256", ""), "eat+jwt", "JWT", 1), payload, es256(t, key)),
		"no type":                              forge(`{"alg":"ES256","kid":"`+kid+`"}`, payload, es256(t, key)),
		"an extension that must be understood": forge(header("ES256", `,"crit":["x"],"x":1`), payload, es256(t, key)),
		"a changed payload":                    strings.Split(good, ".")[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(payload, "policy", "polici", 1))) + "." + strings.Split(good, ".")[2],
		"another serialization":                `{"payload":"` + strings.Split(good, ".")[1] + `","protected":"` + strings.Split(good, ".")[0] + `","signature":"` + strings.Split(good, ".")[2] + `"}`,
		"two parts":                            strings.Join(strings.Split(good, ".")[:2], "."),
		"four parts":                           good + ".",
		"empty":                                "",
		"huge":                                 strings.Repeat("a", maxToken+1),
	} {
		if got, err := keys.Verify(token, now()); err == nil || got != nil || !strings.HasPrefix(err.Error(), "ear: ") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}

	// These are refused before the library sees them, and the error says so.
	for token, want := range map[string]string{
		forge(header("ES384", ""), payload, es256(t, key)): "it is signed with ES384, and its key is for ES256",
		strings.Repeat("a", maxToken+1):                    "a token of more than 1048576 bytes",
	} {
		if _, err := keys.Verify(token, now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}

	// Claims that a verifier has signed and must not have.
	for name, change := range map[string][2]string{
		"a status above the vector's":           {`"hardware":2`, `"hardware":96`},
		"a status above the appraisal's":        {`"submods":{"sgx":{"eat_profile":"` + ResultProfile + `","ear_status":"affirming"`, `"submods":{"sgx":{"eat_profile":"` + ResultProfile + `","ear_status":"warning"`},
		"an unknown status":                     {`"affirming"`, `"certain"`},
		"a status that is a number":             {`"affirming"`, `2`},
		"a claim that is too large":             {`"hardware":2`, `"hardware":130`},
		"another profile":                       {Profile, "tag:github.com,2023:veraison/ear"},
		"two claims with the same name":         {`"ear_status":"affirming"`, `"ear_status":"none","ear_status":"affirming"`},
		"two in the appraisal":                  {`"hardware":2`, `"hardware":2},"ear_status":"affirming","ear_trustworthiness_vector":{"hardware":2`},
		"two appraisals":                        {`"submods":{`, `"submods":{"tdx":{"ear_status":"affirming","ear_trustworthiness_vector":{}},`},
		"two appraisals with the same name":     {`"submods":{`, `"submods":{"sgx":{"ear_status":"affirming","ear_trustworthiness_vector":{}},`},
		"no appraisal":                          {`"submods":{"sgx":`, `"submods":{},"other":{"sgx":`},
		"no expiry":                             {`"exp":`, `"ex":`},
		"an expiry that is not an integer":      {`"exp":1`, `"exp":1.0e0,"x":1`},
		"an expiry that is a string":            {`"exp":`, `"exp":"9","x":`},
		"an expiry that is huge":                {`"exp":`, `"exp":1e300,"x":`},
		"a start that is not an integer":        {`"exp":`, `"nbf":"1","exp":`},
		"a start that is null":                  {`"exp":`, `"nbf":null,"exp":`},
		"a nonce that is too short":             {`"eat_nonce":"bm9uY2Vub24"`, `"eat_nonce":"AAAA"`},
		"an expiry that is null":                {`"exp":`, `"exp":null,"x":`},
		"something after the claims":            {`{"eat_profile"`, `{},{"eat_profile"`},
		"a time of issue that is in the future": {`"iat":1`, `"iat":2`},
	} {
		if !strings.Contains(payload, change[0]) {
			t.Fatalf("%s: %q is not in %s", name, change[0], payload)
		}
		token := forge(header("ES256", ""), strings.Replace(payload, change[0], change[1], 1), es256(t, key))
		if got, err := keys.Verify(token, now()); err == nil || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// A receiver must ignore claims that it does not know.
	token := forge(header("ES256", ""), strings.Replace(payload, "{", `{"jti":"1","ear_device_topology":{},`, 1), es256(t, key))
	if _, err := keys.Verify(token, now()); err != nil {
		t.Errorf("with more claims: %v", err)
	}
}

func TestVerifyTimes(t *testing.T) {
	signer := newSigner(t, newKey(t, nil))
	token, keys := sign(t, signer, claims()), keysOf(t, signer)
	for after, want := range map[time.Duration]string{
		0:                      "",
		5*time.Minute - 1:      "",
		5 * time.Minute:        "the token has expired",
		24 * time.Hour:         "the token has expired",
		-time.Minute:           "",
		-time.Minute - 1:       "issued in the future",
		-1000 * 24 * time.Hour: "issued in the future",
	} {
		if _, err := keys.Verify(token, now().Add(after)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("after %s: %v, want %q", after, err, want)
		}
	}
	if _, err := keys.Verify(token, time.Time{}); err == nil {
		t.Error("no error at the zero time")
	}
}

// A token may say when it becomes valid. Those that confcom signs do not.
func TestVerifyNotBefore(t *testing.T) {
	signer := newSigner(t, newKey(t, nil))
	keys := keysOf(t, signer)
	for after, want := range map[time.Duration]string{
		-time.Hour:                "",
		time.Minute:               "",
		time.Minute + time.Second: "the token is not valid before 20",
		2 * time.Minute:           "the token is not valid before 20",
	} {
		c := claims()
		c.NotBefore = now().Add(after)
		got, err := keys.Verify(sign(t, signer, c), now())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("valid after %s: %v, want %q", after, err, want)
		}
		if err == nil && !got.NotBefore.Equal(c.NotBefore) {
			t.Errorf("valid from %s, want %s", got.NotBefore, c.NotBefore)
		}
	}
	if got, err := keys.Verify(sign(t, signer, claims()), now()); err != nil || !got.NotBefore.IsZero() {
		t.Errorf("without nbf: %+v, %v", got, err)
	}
}

func TestVerifyStatus(t *testing.T) {
	signer := newSigner(t, newKey(t, elliptic.P384()))
	keys := keysOf(t, signer)
	for _, status := range []Status{None, Affirming, Warning, Contraindicated} {
		c := claims()
		c.Status, c.Appraisal.Status, c.Appraisal.Vector = status, status, Vector{}
		token := sign(t, signer, c)
		got, err := keys.Verify(token, now())
		if got == nil || got.Status != status || (err == nil) != (status == Affirming) || err != nil && !errors.Is(err, ErrStatus) {
			t.Errorf("%s: %v, %v", status, got, err)
		}
		if _, err := keys.Verify(token, now(), Warning); (err == nil) != (status == Affirming || status == Warning) {
			t.Errorf("%s, with warnings accepted: %v", status, err)
		}
	}
}

// A relying party that has the keys of now trusts tokens of before and after a change of keys.
func TestRotation(t *testing.T) {
	former, next := newKey(t, elliptic.P256()), newKey(t, nil)
	before, published, after, later := newSigner(t, former), newSigner(t, former, next.Public()), newSigner(t, next, former.Public()), newSigner(t, next)
	for _, c := range []struct {
		name         string
		signs, knows *Signer
		trusted      bool
	}{
		{"before", before, published, true},
		{"the next key is published before it signs", after, published, true},
		{"the former key is published until its tokens expire", published, after, true},
		{"a key that nobody has published", after, before, false},
		{"a key that is not published any more", before, later, false},
	} {
		_, err := keysOf(t, c.knows).Verify(sign(t, c.signs, claims()), now())
		if (err == nil) != c.trusted || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if strings.Contains(string(published.JWKS()), `"d"`) {
		t.Error("a private key is published")
	}
}

func TestParseSigner(t *testing.T) {
	key := newKey(t, elliptic.P256())
	private, public := inPEM(t, key), inPEM(t, key.Public())
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	var many strings.Builder
	for range maxKeys + 1 {
		many.WriteString(inPEM(t, newKey(t, nil)))
	}
	other := inPEM(t, newKey(t, nil))
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "no key in PEM"},
		{"something else", "{}", "no key in PEM"},
		{"a public key", public, "key 1: a public key"},
		{"a public key first", public + other, "key 1: a public key"},
		{"the same key twice", private + public, "key 2: the same key again"},
		{"a key that is cut off", private[:len(private)-30], "0 of 1 PEM blocks are complete"},
		{"a next key that is cut off", private + other[:len(other)-30], "1 of 2 PEM blocks are complete"},
		{"a first key that is cut off", private[:len(private)-30] + "\n" + other, "1 of 2 PEM blocks are complete"},
		{"a certificate", strings.ReplaceAll(private, "PRIVATE KEY", "CERTIFICATE"), `"CERTIFICATE", want "PRIVATE KEY" or "PUBLIC KEY"`},
		{"the form of openssl ecparam", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})), "openssl pkcs8 -topk8"},
		{"an RSA key", inPEM(t, rsaKey), "a key of the type *rsa.PublicKey"},
		{"another curve", inPEM(t, small), "a key of the curve P-224"},
		{"no key inside", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})), "key 1: "},
		{"too many", many.String(), "more than 16 keys"},
	} {
		if _, err := ParseSigner([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	key := newKey(t, elliptic.P256())
	good, err := published(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	jwk := string(text)
	secret := `{"kty":"oct","kid":"s","k":"AAAA","alg":"HS256"}`
	scalar, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private := strings.Replace(jwk, `{`, `{"d":"`+base64.RawURLEncoding.EncodeToString(scalar)+`",`, 1)
	for _, c := range []struct{ name, text, want string }{
		{"one key", set(jwk), ""},
		{"and keys that are not for us", set(secret, `{"kty":"unheard-of"}`, jwk), ""},
		{"no key", set(), "no key with an ID"},
		{"a secret only", set(secret), "no key with an ID"},
		{"a key for encryption", set(strings.Replace(jwk, `"sig"`, `"enc"`, 1)), "no key with an ID"},
		{"a key for another algorithm", set(strings.Replace(jwk, `"ES256"`, `"ES384"`, 1)), "no key with an ID"},
		{"a key without an ID", set(strings.Replace(jwk, `"kid"`, `"x-kid"`, 1)), "no key with an ID"},
		{"a private key", set(private), "replace that key"},
		{"two keys with an ID", set(jwk, jwk), "two keys with the ID"},
		{"no set", jwk, "no key with an ID"},
		{"no JSON", "<html>", "parse JWK set"},
		{"cut off", set(jwk)[:40], "parse JWK set"},
	} {
		if _, err := ParseKeys([]byte(c.text)); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestBinds(t *testing.T) {
	bound := challenge.ReportData([]byte("noncenon"), []byte("key")).String()
	for _, c := range []struct{ name, attester, want string }{
		{"an enclave", `{"enclave":{"reportData":"` + bound + `"}}`, ""},
		{"a trust domain", `{"trustDomain":{"reportData":"` + bound + `"}}`, ""},
		{"another key", `{"enclave":{"reportData":"` + strings.Repeat("00", 64) + `"}}`, "the report data is another one"},
		{"both", `{"enclave":{"reportData":"` + bound + `"},"trustDomain":{"reportData":"` + bound + `"}}`, "an enclave and a trust domain"},
		{"no report data", `{"enclave":{}}`, "no report data"},
		{"neither", `{}`, "no report data"},
		{"nothing", "", "no report data"},
		{"short report data", `{"enclave":{"reportData":"00"}}`, "ear_attester_claims"},
	} {
		a := Appraisal{Nonce: []byte("noncenon")}
		if c.attester != "" {
			a.AttesterClaims = json.RawMessage(c.attester)
		}
		if err := a.Binds([]byte("key")); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	a := Appraisal{AttesterClaims: json.RawMessage(`{"enclave":{"reportData":"` + bound + `"}}`)}
	if err := a.Binds([]byte("key")); err == nil || !strings.Contains(err.Error(), "eat_nonce") {
		t.Errorf("without a nonce: %v", err)
	}
}

// What a stranger sends never panics, and is never trusted.
func FuzzVerify(f *testing.F) {
	signer := newSigner(f, newKey(f, elliptic.P256()))
	keys := keysOf(f, signer)
	good := sign(f, signer, claims())
	trusted, err := keys.Verify(good, now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(forge(`{"alg":"none","typ":"eat+jwt"}`, `{}`, func([]byte) []byte { return nil }))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		// One signature has several forms.
		if got, err := keys.Verify(token, now()); err == nil && !reflect.DeepEqual(got, trusted) {
			t.Errorf("%q is trusted: %+v", token, got)
		}
	})
}

// Claims that are read are written again as they were read.
func FuzzClaims(f *testing.F) {
	text, err := json.Marshal(claims())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"submods":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var read Claims
		if err := read.UnmarshalJSON(text); err != nil {
			return
		}
		written, err := json.Marshal(read)
		if err != nil {
			t.Fatal(err)
		}
		var again Claims
		if err := again.UnmarshalJSON(written); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten, err := json.Marshal(again); err != nil || string(rewritten) != string(written) {
			t.Errorf("%s\n%s\n%v", written, rewritten, err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(newSigner(f, newKey(f, elliptic.P256()), newKey(f, nil)).JWKS())
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if err != nil {
			return
		}
		for id, key := range keys.byID {
			if algorithm, err := algorithmOf(key.Key); err != nil || string(algorithm) != key.Algorithm || id == "" {
				t.Errorf("%q: %+v", id, key)
			}
		}
	})
}
