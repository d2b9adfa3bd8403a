package daemon

import (
	"fmt"
	"runtime/debug"
)

// version describes this build: the module's version and the compiler.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	return fmt.Sprintf("%s (%s)", info.Main.Version, info.GoVersion)
}
