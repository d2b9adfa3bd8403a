package attest

import "context"

// Source has collateral: a *pcs.Client, which fetches it, or collateral itself.
type Source interface {
	// CollateralFor returns the collateral of a family of platforms. What it returns is
	// verified before it is used. It is called only for quotes whose certificate chain ends in
	// a trusted root, and whose signatures are valid.
	CollateralFor(context.Context, Family) (*Collateral, error)
}

// CollateralFor returns c, whatever the family: a verification notices collateral of another
// one.
func (c *Collateral) CollateralFor(context.Context, Family) (*Collateral, error) { return c, nil }
