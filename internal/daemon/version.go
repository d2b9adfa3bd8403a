package daemon

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// release is set by the linker, for builds of a release.
var release string

// version describes this build: the release, or else the module's version, and
// the compiler.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	return fmt.Sprintf("%s (%s)", cmp.Or(release, info.Main.Version), info.GoVersion)
}
