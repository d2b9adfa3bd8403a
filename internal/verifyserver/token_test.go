package verifyserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// newKey returns a private key in PEM.
func newKey(t testing.TB, curve elliptic.Curve) []byte {
	t.Helper()
	var key any
	var err error
	if curve == nil {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = ecdsa.GenerateKey(curve, rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign lets a service sign EARs.
func sign(t testing.TB, s *Service, keys []byte) {
	t.Helper()
	signer, err := ear.ParseSigner(keys)
	if err != nil {
		t.Fatal(err)
	}
	s.Signer, s.EARLifetime = func() *ear.Signer { return signer }, 5*time.Minute
}

// newChallenge gets a nonce from the service.
func newChallenge(t testing.TB, h http.Handler) challenge.Nonce {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/challenge", nil))
	var answer Challenge
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %s, %v", w.Code, w.Body, err)
	}
	if left := time.Until(answer.Expires); left <= 58*time.Second || left > time.Minute {
		t.Errorf("the nonce expires in %s", left)
	}
	if control := w.Result().Header.Get("Cache-Control"); control != "no-store" {
		t.Errorf("Cache-Control: %s", control)
	}
	return answer.Nonce
}

// postToken sends a request in JSON and returns the answer, an EAR if all is well.
func postToken(h http.Handler, accept string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/verify", bytes.NewReader(body))
	r.Header.Set("Content-Type", mediaTypeJSON)
	r.Header.Set("Accept", accept)
	h.ServeHTTP(w, r)
	return w
}

func getKeys(t testing.TB, h http.Handler) (jwks []byte, keys *ear.Keys) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, JWKSPath, nil))
	header := w.Result().Header
	if w.Code != http.StatusOK || header.Get("Content-Type") != "application/jwk-set+json" || header.Get("Cache-Control") != "public, max-age=300" {
		t.Fatalf("status %d, %v, %s", w.Code, header, w.Body)
	}
	keys, err := ear.ParseKeys(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return w.Body.Bytes(), keys
}

// An enclave gets a nonce, binds its key to it, and has an EAR signed. A relying party trusts it
// with our package, and reads it with another JWT library.
func TestToken(t *testing.T) {
	for _, c := range []struct {
		name, algorithm string
		curve           elliptic.Curve
	}{
		{"P-256", "ES256", elliptic.P256()},
		{"P-384", "ES384", elliptic.P384()},
		{"Ed25519", "EdDSA", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, h, _, from := newService(t, attest.Policy{MREnclaves: []sgx.Measurement{{1}}})
			sign(t, s, newKey(t, c.curve))
			jwks, keys := getKeys(t, h)
			nonce := newChallenge(t, h)
			publicKey := []byte("the public key of the enclave")

			issuer, err := attesttest.NewIssuer("node-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}, ReportData: challenge.ReportData(nonce, publicKey)})
			if err != nil {
				t.Fatal(err)
			}
			if from.collateral, err = issuer.Collateral(); err != nil {
				t.Fatal(err)
			}
			answer := postToken(h, "application/eat+jwt", encodeJSON(t, map[string]any{"quote": marshal(t, q), "nonce": nonce, "data": publicKey}))
			if kind := answer.Result().Header.Get("Content-Type"); answer.Code != http.StatusOK || kind != `application/eat+jwt; eat_profile="tag:ietf.org,2026:rats/ear#04"` {
				t.Fatalf("status %d, %s: %s", answer.Code, kind, answer.Body)
			}

			claims, err := keys.Verify(answer.Body.String(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := claims.Appraisal.Binds(publicKey); err != nil {
				t.Error(err)
			}
			if err := claims.Appraisal.Binds([]byte("another key")); err == nil {
				t.Error("it binds another key")
			}
			if !bytes.Equal(claims.Nonce, nonce) || claims.Submodule != "sgx" || claims.Appraisal.PolicyIDs[0] != "sha256:0123" || claims.Expires.Sub(claims.IssuedAt) != 5*time.Minute {
				t.Errorf("%+v", claims)
			}
			if ppid := issuer.Extension.PPID; strings.Contains(string(claims.Appraisal.VerifierClaims), hex.EncodeToString(ppid)) || len(ppid) == 0 {
				t.Error("the EAR identifies the platform")
			}
			var result attest.Result
			if err := json.Unmarshal(claims.Appraisal.VerifierClaims, &result); err != nil || !result.Trusted || len(result.Checks) < 15 {
				t.Errorf("%v, %s", err, claims.Appraisal.VerifierClaims)
			}

			theirs := jwt.MapClaims{}
			token, err := jwt.ParseWithClaims(answer.Body.String(), theirs, func(token *jwt.Token) (any, error) { return keyOf(jwks, token.Header["kid"]) },
				jwt.WithValidMethods([]string{c.algorithm}), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
			if err != nil {
				t.Fatal(err)
			}
			submodule := theirs["submods"].(map[string]any)["sgx"].(map[string]any)
			vector := submodule["ear_trustworthiness_vector"].(map[string]any)
			attester := submodule["ear_attester_claims"].(map[string]any)["enclave"].(map[string]any)
			if token.Header["typ"] != "eat+jwt" || theirs["eat_profile"] != "tag:ietf.org,2026:rats/ear#04" || theirs["ear_status"] != "affirming" ||
				theirs["eat_nonce"] != nonce.String() || submodule["eat_nonce"] != nonce.String() || vector["executables"] != 3.0 || vector["file-system"] != 0.0 ||
				attester["mrEnclave"] != q.Enclave.MREnclave.String() {
				t.Errorf("%v\n%v", token.Header, theirs)
			}
		})
	}
}

// An EAR is not valid for longer than the collateral.
func TestTokenExpires(t *testing.T) {
	s, h, q, from := newService(t, attest.Policy{AnyEnclave: true})
	sign(t, s, newKey(t, nil))
	s.EARLifetime = 365 * 24 * time.Hour
	_, keys := getKeys(t, h)
	answer := postToken(h, "application/eat+jwt", encodeJSON(t, map[string]any{"quote": marshal(t, q)}))
	claims, err := keys.Verify(answer.Body.String(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.Verifier.Verify(q, from.collateral, attest.Policy{AnyEnclave: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !claims.Expires.Equal(result.Expires) {
		t.Errorf("it expires on %s, the collateral on %s", claims.Expires, result.Expires)
	}
}

// keyOf returns the key of a JWK set with an ID, as someone reads it who does not have our code.
func keyOf(jwks []byte, id any) (any, error) {
	var set struct {
		Keys []struct{ Kty, Crv, X, Y, Kid, Use string }
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, err
	}
	for _, key := range set.Keys {
		if key.Kid != id || key.Use != "sig" {
			continue
		}
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		if err != nil {
			return nil, err
		}
		y, err := base64.RawURLEncoding.DecodeString(key.Y)
		if err != nil {
			return nil, err
		}
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}[key.Crv]
		switch {
		case key.Kty == "OKP" && key.Crv == "Ed25519":
			return ed25519.PublicKey(x), nil
		case key.Kty == "EC" && curve != nil:
			return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		}
	}
	return nil, errors.New("no such key")
}

// An EAR of a quote that is not trusted says so, and has nothing of the evidence in it.
func TestTokenNotTrusted(t *testing.T) {
	s, h, q, from := newService(t, attest.Policy{MREnclaves: []sgx.Measurement{{1}}})
	sign(t, s, newKey(t, elliptic.P256()))
	_, keys := getKeys(t, h)
	good := from.collateral
	forged := *good
	forged.TCBInfoSignature[0] ^= 1
	changed := *q
	body := *q.Enclave
	body.ISVSVN++
	changed.Enclave = &body
	for _, c := range []struct {
		name       string
		quote      *quote.Quote
		collateral *attest.Collateral
		nonce      bool
		status     ear.Status
	}{
		{"a changed quote", &changed, good, false, ear.Contraindicated},
		{"forged collateral", q, &forged, false, ear.None},
		{"a nonce that it does not bind", q, good, true, ear.Contraindicated},
	} {
		asked := map[string]any{"quote": marshal(t, c.quote)}
		if c.nonce {
			asked["nonce"] = newChallenge(t, h)
		}
		from.collateral = c.collateral
		answer := postToken(h, "application/eat+jwt", encodeJSON(t, asked))
		claims, err := keys.Verify(answer.Body.String(), time.Now())
		if !errors.Is(err, ear.ErrStatus) || claims.Status != c.status {
			t.Fatalf("%s: %d, %v, %+v", c.name, answer.Code, err, claims)
		}
		if claims.Appraisal.AttesterClaims != nil || claims.Appraisal.Nonce != nil {
			t.Errorf("%s: %s, nonce %s", c.name, claims.Appraisal.AttesterClaims, claims.Appraisal.Nonce)
		}
		if (claims.Nonce != nil) != c.nonce {
			t.Errorf("%s: the nonce of the request is %s", c.name, claims.Nonce)
		}
	}
}

// What a client gets follows from what it accepts.
func TestAccept(t *testing.T) {
	with, h, q, _ := newService(t, attest.Policy{AnyEnclave: true})
	sign(t, with, newKey(t, elliptic.P256()))
	_, without, _, _ := newService(t, attest.Policy{AnyEnclave: true})
	body := encodeJSON(t, map[string]any{"quote": marshal(t, q)})
	for accept, want := range map[string]struct{ with, without string }{
		"":                         {"json", "json"},
		"*/*":                      {"json", "json"},
		"application/*":            {"json", "json"},
		"text/html":                {"json", "json"},
		"application/json":         {"json", "json"},
		"application/eat+jwt":      {"token", "406"},
		"Application/EAT+JWT":      {"token", "406"},
		"application/eat+jwt, */*": {"token", "json"},
		"application/eat+jwt;q=0":  {"json", "json"},
		"application/eat+jwt;q=1, application/json;q=0.9":                          {"token", "json"},
		"application/json, application/eat+jwt":                                    {"token", "json"},
		"application/json, application/eat+jwt;q=0.9":                              {"json", "json"},
		"application/eat+jwt;q=0.5, */*;q=0.9, application/json;q=0.1":             {"token", "json"},
		"application/eat+jwt, application/json;q=0":                                {"token", "406"},
		`application/eat+jwt; eat_profile="tag:ietf.org,2026:rats/ear#04"`:         {"token", "406"},
		`application/eat+jwt; eat_profile="TAG:ietf.org,2026:rats/ear#04";q=0.5`:   {"token", "406"},
		`application/eat+jwt; eat_profile="tag:github.com,2023:veraison/ear", */*`: {"json", "json"},
		"application/eat+jwt;q=2":                                                  {"json", "json"},
		"application/eat+jwt;q=NaN":                                                {"json", "json"},
		`application/eat+jwt;x="\",y`:                                              {"json", "json"},
		",,;,":                                                                     {"json", "json"},
	} {
		for name, c := range map[string]struct {
			handler http.Handler
			want    string
		}{"with a key": {h, want.with}, "without a key": {without, want.without}} {
			answer := postToken(c.handler, accept, body)
			got := answer.Result().Status[:3]
			switch kind := answer.Result().Header.Get("Content-Type"); {
			case got == "200" && strings.HasPrefix(kind, "application/eat+jwt"):
				got = "token"
			case got == "200" && kind == "application/json":
				got = "json"
			}
			if got != c.want {
				t.Errorf("Accept: %s, %s: %s, want %s: %.200s", accept, name, got, c.want, answer.Body)
			}
		}
	}
}

// A request for an EAR that the service cannot sign takes no share of large bodies with it.
func TestNotAcceptableLargeBody(t *testing.T) {
	s, h, _, _ := newService(t, attest.Policy{AnyEnclave: true})
	for range maxLargeEach + 1 {
		if answer := postToken(h, "application/eat+jwt", make([]byte, maxBody+1)); answer.Code != http.StatusNotAcceptable {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
	}
	if s.large.total != 0 {
		t.Errorf("%d shares are taken", s.large.total)
	}
}

func TestNoKeys(t *testing.T) {
	_, h, _, _ := newService(t, attest.Policy{AnyEnclave: true})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, JWKSPath, nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "--ear-key") {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}

// A nonce must be from the service, must not have expired, and must be bound with the data of the
// request.
func TestNonce(t *testing.T) { inBubble(t, testNonce) }

func testNonce(t *testing.T) {
	var key = []byte("key")
	for _, c := range []struct {
		name    string
		change  func(challenge.Nonce) challenge.Nonce // of the request's
		data    []byte                                // of the request
		wait    time.Duration
		policy  bool // it requires other report data
		status  int
		trusted bool
		want    string
	}{
		{name: "bound", data: key, status: 200, trusted: true},
		{name: "at its end", data: key, wait: time.Minute, status: 200, trusted: true},
		{name: "after its end", data: key, wait: time.Minute + time.Second, status: 400, want: "nonce: challenge: the nonce has expired: it was issued 1m1s ago, and is valid for 1m0s: ask for another one at /v1/challenge"},
		{name: "another service's", change: func(n challenge.Nonce) challenge.Nonce { n[0] ^= 1; return n }, data: key, status: 400, want: "nonce: challenge: the nonce was not issued here: ask for one at /v1/challenge"},
		{name: "other data", data: []byte("another key"), status: 200, want: "report data"},
		{name: "no data", status: 200, want: "report data"},
		{name: "other report data in the policy", data: key, policy: true, status: 200, want: "report data"},
	} {
		policy := attest.Policy{AnyEnclave: true}
		if c.policy {
			policy.ReportData = []byte{1}
		}
		_, h, _, from := newService(t, policy)
		nonce := newChallenge(t, h)
		issuer, err := attesttest.NewIssuer("node-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		q, err := issuer.Quote(sgx.ReportBody{ReportData: challenge.ReportData(nonce, key)})
		if err != nil {
			t.Fatal(err)
		}
		if from.collateral, err = issuer.Collateral(); err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			nonce = c.change(bytes.Clone(nonce))
		}
		asked := map[string]any{"quote": marshal(t, q), "nonce": nonce}
		if c.data != nil {
			asked["data"] = c.data
		}
		time.Sleep(c.wait)
		status, answer := post(h, mediaTypeJSON, encodeJSON(t, asked))
		reason, _ := answer["reason"].(string)
		problem, _ := answer["error"].(string)
		if trusted, _ := answer["trusted"].(bool); status != c.status || trusted != c.trusted || !strings.Contains(reason+problem, c.want) || status != 200 && problem != c.want {
			t.Errorf("%s: %d, %v", c.name, status, answer)
		}
	}
}

// What a client says that it accepts never panics, and a client that does not name the type of an
// EAR gets none.
func FuzzPreference(f *testing.F) {
	for _, accept := range []string{"application/eat+jwt", "*/*;q=0.1, application/eat+jwt; eat_profile=\"a,b\"", "\"\\\"", ",;=", "application/*;q=NaN"} {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if token, _ := preference([]string{accept}); token && !strings.Contains(strings.ToLower(accept), ear.MediaType) {
			t.Errorf("Accept: %q gets an EAR", accept)
		}
	})
}
