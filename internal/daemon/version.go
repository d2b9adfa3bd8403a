package daemon

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// release is set by the linker, for builds of a release.
var release string

// version returns the release of this build, or else the version of its module, and
// the version of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	return fmt.Sprintf("%s (%s)", cmp.Or(release, info.Main.Version), info.GoVersion)
}
