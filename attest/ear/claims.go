package ear

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/internal/strictjson"
	"github.com/confcom/confcom/sgx"
)

const (
	// Profile is the EAT profile of an EAR.
	Profile = "tag:ietf.org,2026:rats/ear#04"
	// ResultProfile is the EAT profile of an appraisal: of the content of AttesterClaims and
	// VerifierClaims.
	ResultProfile = "tag:github.com,2026:confcom/confcom/result#1"
	// MediaType is the media type of an EAR as a JWT (RFC 9782). Its parameter eat_profile,
	// which is optional, is Profile.
	MediaType = "application/eat+jwt"
)

// Claims are the content of an EAR.
type Claims struct {
	Status     Status // of the only appraisal
	IssuedAt   time.Time
	Expires    time.Time
	NotBefore  time.Time // when the token becomes valid; zero if it does not say
	VerifierID VerifierID
	// Nonce is the nonce of the request; nil if it had none.
	Nonce challenge.Nonce
	// Submodule is the name of the only appraisal: "sgx" or "tdx".
	Submodule string
	Appraisal Appraisal
}

// VerifierID identifies the software that verified the evidence.
type VerifierID struct {
	Developer string `json:"developer"`
	Build     string `json:"build"`
}

// Appraisal is the appraisal of one attester.
type Appraisal struct {
	Profile string `json:"eat_profile,omitempty"`
	Status  Status `json:"ear_status"`
	Vector  Vector `json:"ear_trustworthiness_vector"`
	// PolicyIDs identify the appraisal policy.
	PolicyIDs []string `json:"ear_appraisal_policy_ids,omitempty"`
	// Nonce is the nonce that the evidence binds; nil if that was not checked.
	Nonce challenge.Nonce `json:"eat_nonce,omitempty"`
	// AttesterClaims has the report body of a trusted quote, an sgx.ReportBody or a
	// tdx.ReportBody, as "enclave" or "trustDomain".
	AttesterClaims json.RawMessage `json:"ear_attester_claims,omitempty"`
	// VerifierClaims is the result in full: an attest.Result and what the verifier adds.
	VerifierClaims json.RawMessage `json:"ear_verifier_claims,omitempty"`
}

// ReportData returns the report data of a trusted quote.
func (a *Appraisal) ReportData() (sgx.ReportData, error) {
	type body struct {
		ReportData *sgx.ReportData `json:"reportData"`
	}
	var claims struct {
		Enclave     *body `json:"enclave"`
		TrustDomain *body `json:"trustDomain"`
	}
	if a.AttesterClaims != nil {
		if err := json.Unmarshal(a.AttesterClaims, &claims); err != nil {
			return sgx.ReportData{}, fmt.Errorf("ear: ear_attester_claims: %w", err)
		}
	}
	switch {
	case claims.Enclave != nil && claims.TrustDomain != nil:
		return sgx.ReportData{}, errors.New("ear: ear_attester_claims: an enclave and a trust domain")
	case claims.Enclave != nil && claims.Enclave.ReportData != nil:
		return *claims.Enclave.ReportData, nil
	case claims.TrustDomain != nil && claims.TrustDomain.ReportData != nil:
		return *claims.TrustDomain.ReportData, nil
	}
	return sgx.ReportData{}, errors.New("ear: ear_attester_claims: no report data: the quote is not trusted, or this is not an EAR of confcom")
}

// Binds checks that the attester bound data, such as the public key of the connection, to the
// nonce of the appraisal.
func (a *Appraisal) Binds(data []byte) error {
	if a.Nonce == nil {
		return errors.New("ear: eat_nonce: missing: the attester did not answer a challenge")
	}
	bound, err := a.ReportData()
	if err != nil {
		return err
	}
	if bound != challenge.ReportData(a.Nonce, data) {
		return errors.New("ear: the attester did not bind this data: the report data is another one")
	}
	return nil
}

// MarshalJSON returns the claims-set.
func (c Claims) MarshalJSON() ([]byte, error) {
	var notBefore int64
	if !c.NotBefore.IsZero() {
		notBefore = c.NotBefore.Unix()
	}
	return json.Marshal(struct {
		Profile    string               `json:"eat_profile"`
		Status     Status               `json:"ear_status"`
		IssuedAt   int64                `json:"iat"`
		Expires    int64                `json:"exp"`
		NotBefore  int64                `json:"nbf,omitempty"`
		VerifierID VerifierID           `json:"ear_verifier_id"`
		Nonce      challenge.Nonce      `json:"eat_nonce,omitempty"`
		Submodules map[string]Appraisal `json:"submods"`
	}{Profile, c.Status, c.IssuedAt.Unix(), c.Expires.Unix(), notBefore, c.VerifierID, c.Nonce, map[string]Appraisal{c.Submodule: c.Appraisal}})
}

// UnmarshalJSON reads a claims-set with one submodule. It ignores claims that it does not know,
// as the EAR draft requires. A claim that is given twice is an error.
func (c *Claims) UnmarshalJSON(text []byte) error {
	claims, err := strictjson.Members(text)
	if err != nil {
		return err
	}
	var profile string
	var issued, expires, notBefore date
	var submodules map[string]json.RawMessage
	read := Claims{}
	for _, claim := range []struct {
		name     string
		into     any
		optional bool
	}{
		{"eat_profile", &profile, false},
		{"ear_status", &read.Status, false},
		{"iat", &issued, false},
		{"exp", &expires, false},
		{"nbf", &notBefore, true},
		{"ear_verifier_id", &read.VerifierID, false},
		{"eat_nonce", &read.Nonce, true},
		{"submods", &submodules, false},
	} {
		if err := decode(claims, claim.name, claim.into, claim.optional); err != nil {
			return err
		}
	}
	if profile != Profile {
		return fmt.Errorf("eat_profile: %q, want %q", profile, Profile)
	}
	if len(submodules) != 1 {
		return fmt.Errorf("submods: %d appraisals, want one", len(submodules))
	}
	if submodules, err = strictjson.Members(claims["submods"]); err != nil { // again: it finds names given twice
		return fmt.Errorf("submods: %w", err)
	}
	for name, appraisal := range submodules {
		read.Submodule = name
		if err := read.Appraisal.unmarshal(appraisal); err != nil {
			return fmt.Errorf("submods: %s: %w", name, err)
		}
	}
	if read.Status != read.Appraisal.Status {
		return fmt.Errorf("ear_status: %q, but the only appraisal has %q", read.Status, read.Appraisal.Status)
	}
	read.IssuedAt, read.Expires, read.NotBefore = time.Time(issued), time.Time(expires), time.Time(notBefore)
	*c = read
	return nil
}

func (a *Appraisal) unmarshal(text []byte) error {
	claims, err := strictjson.Members(text)
	if err != nil {
		return err
	}
	for _, claim := range []struct {
		name     string
		into     any
		optional bool
	}{
		{"eat_profile", &a.Profile, true},
		{"ear_status", &a.Status, false},
		{"ear_trustworthiness_vector", &a.Vector, false},
		{"ear_appraisal_policy_ids", &a.PolicyIDs, true},
		{"eat_nonce", &a.Nonce, true},
		{"ear_attester_claims", &a.AttesterClaims, true},
		{"ear_verifier_claims", &a.VerifierClaims, true},
	} {
		if err := decode(claims, claim.name, claim.into, claim.optional); err != nil {
			return err
		}
	}
	if worst := a.Vector.Status(); worst.rank() > a.Status.rank() {
		return fmt.Errorf("ear_status: %q, but the trustworthiness vector has a claim that is %q", a.Status, worst)
	}
	return nil
}

// decode decodes a claim.
func decode(claims map[string]json.RawMessage, name string, into any, optional bool) error {
	value, found := claims[name]
	switch {
	case !found && optional:
		return nil
	case !found:
		return fmt.Errorf("%s: missing", name)
	case string(value) == "null":
		return fmt.Errorf("%s: null", name)
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// date is a time in seconds since 1970. RFC 9711 allows integers only.
type date time.Time

func (d *date) UnmarshalJSON(text []byte) error {
	var seconds int64
	if err := json.Unmarshal(text, &seconds); err != nil || seconds < 0 || seconds > math.MaxUint32 {
		return fmt.Errorf("%.30q is not a time: want seconds since 1970 as an integer", text)
	}
	*d = date(time.Unix(seconds, 0))
	return nil
}
