package simulation

import _ "embed"

//go:embed root.pem
var rootPEM string

// RootPEM returns the root certificate of every simulated platform, in PEM. A
// verifier that is given it trusts quotes that anyone can make: give it to none
// that guards anything.
func RootPEM() []byte { return []byte(rootPEM) }
