package buildinfo

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	recorded := &debug.BuildInfo{
		Main:     debug.Module{Version: "v0.2.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "c0ffee"}, {Key: "vcs.modified", Value: "true"}},
	}
	for name, c := range map[string]struct {
		info *debug.BuildInfo
		want Info
	}{
		"recorded":     {recorded, Info{"v0.2.0", "c0ffee", true, runtime.Version(), platform}},
		"no commit":    {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, Info{"(devel)", "", false, runtime.Version(), platform}},
		"not recorded": {nil, Info{"unknown", "", false, runtime.Version(), platform}},
	} {
		if diff := cmp.Diff(c.want, describe(c.info)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got, want := (Info{Version: "0.1.0", Go: "go1.26.0"}).String(), "0.1.0 (go1.26.0)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
