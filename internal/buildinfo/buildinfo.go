// Package buildinfo describes the build of the running program.
package buildinfo

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version of a release. The linker sets it:
//
//	-ldflags '-X github.com/confcom/confcom/internal/buildinfo.release=0.1.0'
var release string

// Info describes a build.
type Info struct {
	Version  string `json:"version"`          // of the release, or else of the module
	Commit   string `json:"commit,omitempty"` // empty if the build did not record it
	Modified bool   `json:"modified"`         // the working tree differed from Commit
	Go       string `json:"go"`               // the version of the compiler
	Platform string `json:"platform"`         // such as linux/amd64
}

// Read returns the description of this build.
func Read() Info {
	info, _ := debug.ReadBuildInfo()
	return describe(info)
}

// describe returns what info, which may be nil, and the linker have recorded.
func describe(info *debug.BuildInfo) Info {
	i := Info{Version: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info != nil {
		i.Version = cmp.Or(release, info.Main.Version)
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = s.Value
			case "vcs.modified":
				i.Modified = s.Value == "true"
			}
		}
	}
	i.Version = cmp.Or(i.Version, "unknown")
	return i
}

// String returns the version and the compiler in one line, such as
// "0.1.0 (go1.26.0)".
func (i Info) String() string { return fmt.Sprintf("%s (%s)", i.Version, i.Go) }
