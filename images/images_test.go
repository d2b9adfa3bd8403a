// Package images holds the Dockerfiles of container images that need more than a static
// program. Its tests read the Dockerfiles and do not build them, because a build needs
// other projects' package archives.
package images

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dockerfile = "sgx-quote-helper-dcap/Dockerfile"

// packages are the packages that the image needs, each with the build argument that is
// its version.
var packages = map[string]string{
	"ca-certificates":         "CA_CERTIFICATES_VERSION",
	"libsgx-ae-id-enclave":    "DCAP_VERSION",
	"libsgx-ae-pce":           "PSW_VERSION",
	"libsgx-ae-qe3":           "DCAP_VERSION",
	"libsgx-dcap-default-qpl": "DCAP_VERSION",
	"libsgx-dcap-ql":          "DCAP_VERSION",
	"libsgx-enclave-common":   "PSW_VERSION",
	"libsgx-pce-logic":        "DCAP_VERSION",
	"libsgx-qe3-logic":        "DCAP_VERSION",
	"libsgx-urts":             "PSW_VERSION",
}

// instruction is an instruction of a Dockerfile, such as FROM.
type instruction struct {
	name, arguments string
}

// instructions returns the instructions of a Dockerfile, with continued lines joined.
func instructions(t *testing.T, path string) []instruction {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []instruction
	var line string
	for part := range strings.Lines(string(content)) {
		part = strings.TrimSpace(part)
		if part == "" || strings.HasPrefix(part, "#") {
			continue
		}
		rest, continued := strings.CutSuffix(part, "\\")
		line += rest
		if continued {
			continue
		}
		name, arguments, _ := strings.Cut(line, " ")
		found = append(found, instruction{name, arguments})
		line = ""
	}
	return found
}

// arguments returns the arguments of all instructions with this name.
func arguments(all []instruction, name string) []string {
	var found []string
	for _, i := range all {
		if i.name == name {
			found = append(found, i.arguments)
		}
	}
	return found
}

// TestBaseImages checks that base images are pinned, so that builds can be repeated.
func TestBaseImages(t *testing.T) {
	pinned := regexp.MustCompile(`^\S+:\S+@sha256:[0-9a-f]{64}( AS (\S+))?$`)
	ofStage := regexp.MustCompile(`^(\S+) AS (\S+)$`)
	var stages []string
	for _, from := range arguments(instructions(t, dockerfile), "FROM") {
		if m := pinned.FindStringSubmatch(from); m != nil {
			stages = append(stages, m[2])
		} else if m := ofStage.FindStringSubmatch(from); m != nil && slices.Contains(stages, m[1]) {
			stages = append(stages, m[2])
		} else {
			t.Errorf("FROM %s: want a tag, for people, and a digest", from)
		}
	}
	if len(stages) == 0 {
		t.Error("the Dockerfile has no FROM")
	}
}

// TestPackages checks that the image has exactly the packages that it needs, and that
// Intel's belong to the same release.
func TestPackages(t *testing.T) {
	all := instructions(t, dockerfile)
	version := map[string]string{}
	for _, argument := range arguments(all, "ARG") {
		name, value, _ := strings.Cut(argument, "=")
		version[name] = value
	}
	for _, argument := range []string{"DCAP_VERSION", "PSW_VERSION"} {
		if !regexp.MustCompile(`^\d+(\.\d+){3}-noble\d+$`).MatchString(version[argument]) {
			t.Errorf("%s=%s is not the version of a package of Intel's for Ubuntu 24.04", argument, version[argument])
		}
	}

	installed := map[string]bool{}
	for _, run := range arguments(all, "RUN") {
		for command := range strings.SplitSeq(run, "&&") {
			_, list, found := strings.Cut(command, " install ")
			if !found {
				continue
			}
			for _, word := range strings.Fields(list) {
				if strings.HasPrefix(word, "--") {
					continue
				}
				name, of, _ := strings.Cut(word, "=")
				argument := packages[name]
				switch {
				case argument == "":
					t.Errorf("the image installs %s, which is not in the list of needed packages", name)
				case of != `"$`+argument+`"`:
					t.Errorf("%s is installed with the version %s, want \"$%s\"", name, of, argument)
				case version[argument] == "":
					t.Errorf("%s has no version: ARG %s has no default", name, argument)
				}
				installed[name] = true
			}
		}
	}
	for name := range packages {
		if !installed[name] {
			t.Errorf("the image does not install %s", name)
		}
	}
}

// TestUser checks that the user is a number other than root's: with runAsNonRoot, the
// kubelet accepts no names.
func TestUser(t *testing.T) {
	users := arguments(instructions(t, dockerfile), "USER")
	if len(users) != 1 || !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(users[0]) {
		t.Errorf("USER %q: want exactly one user and group, by number, and not root", users)
	}
}

// TestNoAESM checks that the image does not set SGX_AESM_ADDR. With that variable, even
// if it is empty, Intel's library would request quotes from an AESM daemon: from the
// helper that is waiting for the library.
func TestNoAESM(t *testing.T) {
	content, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "SGX_AESM_ADDR") {
		t.Error("the Dockerfile mentions SGX_AESM_ADDR")
	}
}

// TestRepository checks that Intel's packages are for the image's version of Ubuntu, and
// that apt verifies Intel's signature.
func TestRepository(t *testing.T) {
	all := instructions(t, dockerfile)
	bases := arguments(all, "FROM")
	if last := bases[len(bases)-1]; !strings.HasPrefix(last, "ubuntu:noble-") {
		t.Errorf("the packages are for Ubuntu noble, the base image is %s", last)
	}
	sources, err := os.ReadFile("sgx-quote-helper-dcap/intel-sgx.sources")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Suites: noble\n", "URIs: https://", "Signed-By: /etc/apt/keyrings/intel-sgx.gpg\n"} {
		if !strings.Contains(string(sources), line) {
			t.Errorf("the repository lacks the line %q", line)
		}
	}
	key := slices.ContainsFunc(arguments(all, "COPY"), func(s string) bool { return strings.HasSuffix(s, " /intel-sgx.gpg /etc/apt/keyrings/") })
	if !key {
		t.Error("no COPY puts the repository's key into /etc/apt/keyrings")
	}
}
