package verifyserver

import (
	"errors"
	"fmt"
	"os"

	"github.com/confcom/confcom/attest"
)

// ReadPolicy reads the appraisal policy in a file. It must state which enclaves or trust
// domains are accepted: a service whose policy has been forgotten would trust all enclaves.
func ReadPolicy(path string) (attest.Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return attest.Policy{}, err
	}
	policy, err := attest.ParsePolicy(text)
	if err == nil && policy.MREnclaves == nil && policy.MRSigners == nil && !policy.AnyEnclave && policy.TrustDomain == nil {
		err = errors.New(`the policy does not state which enclaves are accepted: set "mrEnclaves" or "mrSigners", or "anyEnclave": true; or "trustDomain" for trust domains only`)
	}
	if err != nil {
		return attest.Policy{}, fmt.Errorf("%s: %w", path, err)
	}
	return policy, nil
}
