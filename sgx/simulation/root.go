package simulation

import _ "embed"

//go:embed root.pem
var rootPEM string

// RootPEM returns the root certificate of every simulated platform, in PEM. A
// verifier that trusts it accepts quotes that anyone can make: never configure it
// where security matters.
func RootPEM() []byte { return []byte(rootPEM) }
