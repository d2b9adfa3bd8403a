package daemon

import "github.com/confcom/confcom/internal/buildinfo"

// version returns the version of this build and its compiler.
func version() string { return buildinfo.Read().String() }
