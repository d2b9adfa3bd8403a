package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// platform is an operating system and an architecture, by Go's names.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

var (
	linuxAMD64 = platform{"linux", "amd64"}
	linuxARM64 = platform{"linux", "arm64"}
)

// platforms are those for which a release has the command confcom: the Makefile's
// PORTABLE_TO.
var platforms = []platform{
	linuxAMD64, linuxARM64,
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

// programs are programs that were built.
type programs struct {
	platforms []platform // those that they were built for
	path      func(name string, on platform) string
}

// programsIn returns the programs for these platforms in dir, which has a directory for each
// of them.
func programsIn(dir string, platforms ...platform) programs {
	return programs{platforms, func(name string, on platform) string {
		if on.os == "windows" {
			name += ".exe"
		}
		return filepath.Join(dir, on.os+"-"+on.arch, name)
	}}
}

// platformsOf returns the platforms of an image for which there are programs.
func (p programs) platformsOf(s imageSpec) []platform {
	return slices.DeleteFunc(slices.Clone(s.platforms), func(on platform) bool { return !slices.Contains(p.platforms, on) })
}

// buildPrograms builds confcom for all these platforms, and what is in images for those of
// the images.
func buildPrograms(ctx context.Context, from source, dir string, platforms ...platform) (programs, error) {
	built := programsIn(dir, platforms...)
	for _, on := range platforms {
		specs := []imageSpec{images[0]} // confcom
		for _, image := range images[1:] {
			if image.runsOn(on) {
				specs = append(specs, image)
			}
		}
		if err := built.build(ctx, from, on, specs); err != nil {
			return programs{}, fmt.Errorf("build for %s: %w", on, err)
		}
	}
	return built, nil
}

// build builds programs for a platform with the Makefile, which has the flags.
func (p programs) build(ctx context.Context, from source, on platform, specs []imageSpec) error {
	var names, packages []string
	for _, spec := range specs {
		names, packages = append(names, spec.name), append(packages, spec.source)
	}
	command := exec.CommandContext(ctx, "make", "--no-print-directory", "bin",
		"BIN="+filepath.Dir(p.path(names[0], on)), "PACKAGES="+strings.Join(packages, " "),
		"PROGRAMS="+strings.Join(names, " ")+" for "+on.String())
	command.Dir = from.dir
	command.Env = buildEnvironment(on)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	return command.Run()
}

// buildEnvironment returns this program's environment without what would change the
// programs that are built. A variable that is empty would not do: Go then uses the one
// in the user's configuration.
func buildEnvironment(on platform) []string {
	var env []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GOEXPERIMENT", "GOFIPS140":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "GOOS="+on.os, "GOARCH="+on.arch, "GOFLAGS=-mod=readonly", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0")
}
