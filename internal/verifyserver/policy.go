package verifyserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/confcom/confcom/attest"
)

// Policy is the appraisal policy of a service.
type Policy struct {
	attest.Policy
	// ID identifies the policy in attestation results: the SHA-256 of its file.
	ID string
}

// ReadPolicy reads the appraisal policy in a file. It must state which enclaves or trust
// domains are accepted: a service whose policy has been forgotten would trust all enclaves.
func ReadPolicy(path string) (Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, err
	}
	policy, err := attest.ParsePolicy(text)
	if err == nil && policy.MREnclaves == nil && policy.MRSigners == nil && !policy.AnyEnclave && policy.TrustDomain == nil {
		err = errors.New(`the policy does not state which enclaves are accepted: set "mrEnclaves" or "mrSigners", or "anyEnclave": true; or "trustDomain" for trust domains only`)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("%s: %w", path, err)
	}
	return Policy{policy, fmt.Sprintf("sha256:%x", sha256.Sum256(text))}, nil
}
