package pcs

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/confcom/confcom/attest"
)

// Bundle is collateral in a file. Its JSON form is that of attest.Collateral, which
// other verifiers read, too, and two things more.
type Bundle struct {
	attest.Collateral
	// Root is the certificate that heads the chains, in PEM. It is for those who look
	// at a bundle: whom to trust is not for a bundle to say.
	Root string `json:"root_ca,omitempty"`
	// Fetched is when it was got from the service.
	Fetched time.Time `json:"fetched_at,omitzero"`
}

// ParseBundle reads a bundle, or collateral alone. It checks that nothing is missing,
// and no more.
func ParseBundle(text []byte) (*Bundle, error) {
	collateral, err := attest.ParseCollateral(text)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Collateral: *collateral}
	var more struct {
		Root    string    `json:"root_ca"`
		Fetched time.Time `json:"fetched_at"`
	}
	if err := json.Unmarshal(text, &more); err != nil {
		return nil, fmt.Errorf("pcs: bundle: %w", err)
	}
	b.Root, b.Fetched = more.Root, more.Fetched
	return b, nil
}

// Family is the platforms that collateral is for, as it says itself. It must have
// been checked.
func (b *Bundle) Family() (Family, error) {
	var info struct {
		FMSPC string `json:"fmspc"`
	}
	if err := json.Unmarshal([]byte(b.TCBInfo), &info); err != nil {
		return Family{}, fmt.Errorf("pcs: the TCB info: %w", err)
	}
	ca, err := caOf(b.PCKCRLIssuerChain)
	if err != nil {
		return Family{}, err
	}
	return NewFamily(info.FMSPC, ca)
}
