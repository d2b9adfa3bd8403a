package main

import (
	"strings"
	"testing"
)

func TestToolchainOfThisModule(t *testing.T) {
	tools, err := readToolchain(goMod)
	if err != nil {
		t.Fatal(err)
	}
	built := map[string]bool{}
	for _, pkg := range tools.packages {
		built[binaryName(pkg)] = true
	}
	for _, name := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "helm",
		"containerd", "containerd-shim-runc-v2", "ctr", "bridge", "host-local", "pause",
	} {
		if !built[name] {
			t.Errorf("go.mod has no tool that builds %s", name)
		}
	}
	if !strings.Contains(tools.ldflags, "gitVersion=v1.") || !strings.Contains(tools.ldflags, "gitMajor=1 ") {
		t.Errorf("no version of Kubernetes in the flags %s", tools.ldflags)
	}
}

func TestKeyChangesWithInputs(t *testing.T) {
	tools := toolchain{packages: []string{"a"}, ldflags: "-s"}
	key := tools.key("go1", "amd64", []byte("mod"), []byte("sum"))
	for what, other := range map[string]string{
		"packages":     toolchain{packages: []string{"b"}, ldflags: "-s"}.key("go1", "amd64", []byte("mod"), []byte("sum")),
		"flags":        toolchain{packages: []string{"a"}, ldflags: "-w"}.key("go1", "amd64", []byte("mod"), []byte("sum")),
		"Go version":   tools.key("go2", "amd64", []byte("mod"), []byte("sum")),
		"architecture": tools.key("go1", "arm64", []byte("mod"), []byte("sum")),
		"go.mod":       tools.key("go1", "amd64", []byte("mod2"), []byte("sum")),
		"go.sum":       tools.key("go1", "amd64", []byte("mod"), []byte("sum2")),
	} {
		if other == key {
			t.Errorf("the key does not change with %s", what)
		}
	}
	if again := tools.key("go1", "amd64", []byte("mod"), []byte("sum")); again != key {
		t.Errorf("the same inputs have the keys %s and %s", key, again)
	}
}
