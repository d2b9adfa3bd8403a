package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"golang.org/x/mod/modfile"
)

// The build uses these embedded copies and not the checkout, so what is cached under a
// key is built from the inputs of that key.
var (
	//go:embed go.mod
	goMod []byte
	//go:embed go.sum
	goSum []byte
	//go:embed pause/main.go
	pauseSource []byte
)

// buildTags exclude storage drivers of containerd that need more than a directory.
const buildTags = "no_btrfs,no_devmapper,no_zfs"

// toolchain is how go.mod describes the binaries: its tool directives list the
// programs, and its requirements have the versions that are linked into them.
type toolchain struct {
	packages []string
	ldflags  string
}

func readToolchain(mod []byte) (toolchain, error) {
	file, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return toolchain{}, fmt.Errorf("parse go.mod: %w", err)
	}
	var t toolchain
	for _, tool := range file.Tool {
		t.packages = append(t.packages, tool.Path)
	}
	t.packages = append(t.packages, "./pause")

	// Programs that are built from modules do not know their own version: the kubelet
	// would report v0.0.0.
	flags := []string{"-s", "-w"}
	for _, r := range file.Require {
		v := r.Mod.Version
		switch r.Mod.Path {
		case "k8s.io/kubernetes":
			const pkg = "k8s.io/component-base/version."
			major, rest, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
			minor, _, _ := strings.Cut(rest, ".")
			flags = append(flags, "-X "+pkg+"gitVersion="+v, "-X "+pkg+"gitMajor="+major, "-X "+pkg+"gitMinor="+minor)
		case "github.com/containerd/containerd/v2":
			flags = append(flags, "-X "+r.Mod.Path+"/version.Version="+v)
		case "helm.sh/helm/v4":
			flags = append(flags, "-X "+r.Mod.Path+"/internal/version.version="+v)
		}
	}
	t.ldflags = strings.Join(flags, " ")
	return t, nil
}

// args returns the arguments of the go command that builds pkg into the file out.
func (t toolchain) args(pkg, out string) []string {
	return []string{"build", "-trimpath", "-buildvcs=false", "-tags", buildTags, "-ldflags", t.ldflags, "-o", out, pkg}
}

// key identifies the result of a build. It changes with every input of the binaries.
func (t toolchain) key(goVersion, goarch string, inputs ...[]byte) string {
	h := sha256.New()
	fmt.Fprintln(h, goVersion, goarch, t.args("", ""), t.packages)
	for _, in := range inputs {
		fmt.Fprintf(h, "%x\n", sha256.Sum256(in))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// binaryName returns the file name of a package's program.
func binaryName(pkg string) string {
	if strings.HasPrefix(pkg, "go.etcd.io/etcd/") {
		return "etcd" // its main package is named server/v3
	}
	return path.Base(pkg)
}
