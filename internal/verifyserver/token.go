package verifyserver

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/internal/buildinfo"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

const (
	mediaTypeEAR = ear.MediaType + `; eat_profile="` + ear.Profile + `"`
	// JWKSPath is where the keys of EARs are published.
	JWKSPath = "/.well-known/jwks.json"
	// jwksAge is for how long relying parties may keep the keys. Who changes keys publishes a
	// new one for that long before it signs.
	jwksAge = 5 * time.Minute
)

// asToken reports whether a request is answered with an EAR.
func (s *Service) asToken(header http.Header) (bool, error) {
	token, other := preference(header.Values("Accept"))
	switch {
	case !token:
		return false, nil
	case s.Signer != nil:
		return true, nil
	case other:
		return false, nil
	}
	return false, &problem{http.StatusNotAcceptable, fmt.Errorf("this service signs no EARs: accept %s, or start it with --ear-key", mediaTypeJSON)}
}

// preference reports whether a client wants an EAR, which it must name, and whether it accepts
// JSON as well. What is not understood is not accepted.
func preference(accept []string) (token, other bool) {
	var ofToken, ofJSON float64
	specificity := -1 // of what matches JSON
	for _, element := range elements(strings.Join(accept, ",")) {
		mediaType, params, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, found := params["q"]; found {
			if quality, err = strconv.ParseFloat(q, 64); err != nil || !(quality >= 0 && quality <= 1) {
				continue
			}
		}
		matches := -1
		switch mediaType {
		case ear.MediaType:
			// RFC 9782: the value is case-insensitive.
			if profile, found := params["eat_profile"]; !found || strings.EqualFold(profile, ear.Profile) {
				ofToken = max(ofToken, quality)
			}
		case mediaTypeJSON:
			matches = 2
		case "application/*":
			matches = 1
		case "*/*":
			matches = 0
		}
		if matches > specificity {
			specificity, ofJSON = matches, quality
		}
	}
	return ofToken > 0 && ofToken >= ofJSON, ofJSON > 0
}

// elements splits a list at its commas, but for those in quoted strings.
func elements(list string) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(list, func(r rune) bool {
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
}

// token returns a result as an EAR.
func (s *Service) token(v *verified, at time.Time) (string, error) {
	vector, status := ear.NewVector(v.Result, v.quote)
	appraisal := ear.Appraisal{Profile: ear.ResultProfile, Status: status, Vector: vector, PolicyIDs: []string{v.policyID}}
	expires := at.Add(s.EARLifetime)
	var err error
	if v.Trusted {
		appraisal.Nonce = v.nonce
		if v.Expires.Before(expires) {
			expires = v.Expires
		}
		if appraisal.AttesterClaims, err = json.Marshal(struct {
			Enclave     *sgx.ReportBody `json:"enclave,omitempty"`
			TrustDomain *tdx.ReportBody `json:"trustDomain,omitempty"`
		}{v.Enclave, v.TrustDomain}); err != nil {
			return "", err
		}
	}
	// Enclaves show EARs to others, who need not know which platform it is.
	result := *v.Result
	result.Platform = nil
	ofVerifier := v.Response
	ofVerifier.Result, ofVerifier.Enclave, ofVerifier.TrustDomain = &result, nil, nil
	if appraisal.VerifierClaims, err = json.Marshal(ofVerifier); err != nil {
		return "", err
	}
	submodule := "sgx"
	if v.quote.TD != nil {
		submodule = "tdx"
	}
	return s.Signer().Sign(ear.Claims{
		Status: status, IssuedAt: at, Expires: expires,
		VerifierID: ear.VerifierID{Developer: "github.com/confcom", Build: "confcom " + buildinfo.Read().Version},
		Nonce:      v.nonce, Submodule: submodule, Appraisal: appraisal,
	})
}

// jwks answers with the keys that sign EARs.
func (s *Service) jwks(w http.ResponseWriter, _ *http.Request) {
	if s.Signer == nil {
		s.answer(w, http.StatusNotFound, map[string]string{"error": "this service signs no EARs: start it with --ear-key"})
		return
	}
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(jwksAge.Seconds())))
	send(w, http.StatusOK, "application/jwk-set+json", s.Signer().JWKS())
}
