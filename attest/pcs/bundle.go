package pcs

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// Bundle is collateral in a file. Its JSON form is that of attest.Collateral, which other
// verifiers read as well, with two more members.
type Bundle struct {
	attest.Collateral
	// Root is the certificate at the head of the chains, in PEM. It is for information only:
	// whom to trust is never decided by a bundle.
	Root string `json:"root_ca,omitempty"`
	// Fetched is when the collateral was fetched from the service.
	Fetched time.Time `json:"fetched_at,omitzero"`
}

// ParseBundle reads a bundle, or collateral alone. It checks only that no part is missing.
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
		return nil, fmt.Errorf("pcs: parse bundle: %w", err)
	}
	b.Root, b.Fetched = more.Root, more.Fetched
	return b, nil
}

// Family returns the platforms and the TEE that the collateral is for, according to its TCB info and
// its PCK CA. Verify the collateral first.
func (b *Bundle) Family() (Family, error) {
	var info struct {
		ID    string `json:"id"`
		FMSPC string `json:"fmspc"`
	}
	if err := json.Unmarshal([]byte(b.TCBInfo), &info); err != nil {
		return Family{}, fmt.Errorf("pcs: parse TCB info: %w", err)
	}
	ca, err := caOf(b.PCKCRLIssuerChain)
	if err != nil {
		return Family{}, err
	}
	family, err := NewFamily(info.FMSPC, ca)
	if info.ID == "TDX" {
		family.TEE = quote.TDX
	}
	return family, err
}
