package daemon

import "github.com/confcom/confcom/internal/buildinfo"

// version returns the version of this build, and that of Go.
func version() string { return buildinfo.Read().String() }
