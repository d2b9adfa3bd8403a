// Package images holds what container images are built from that need more than a
// static program. Its test reads the Dockerfile: to build it takes other people's
// package archives, so that most who change it never do.
package images

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dockerfile = "sgx-quote-helper-dcap/Dockerfile"

// packages are those that the image may have: with the names that Intel and Ubuntu
// give them, and the build argument that is the version of each.
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

// instruction is one of a Dockerfile, such as FROM.
type instruction struct {
	name, arguments string
}

// instructions returns those of a Dockerfile, each as one line.
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

// arguments are those of every instruction of this name.
func arguments(all []instruction, name string) []string {
	var found []string
	for _, i := range all {
		if i.name == name {
			found = append(found, i.arguments)
		}
	}
	return found
}

// TestBaseImages: what is built today is built tomorrow.
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
			t.Errorf("FROM %s: give it a tag, for people, and a digest", from)
		}
	}
	if len(stages) == 0 {
		t.Error("no FROM was found")
	}
}

// TestPackages: Intel's packages have these names, and belong together.
func TestPackages(t *testing.T) {
	all := instructions(t, dockerfile)
	version := map[string]string{}
	for _, argument := range arguments(all, "ARG") {
		name, value, _ := strings.Cut(argument, "=")
		version[name] = value
	}
	for _, argument := range []string{"DCAP_VERSION", "PSW_VERSION"} {
		if !regexp.MustCompile(`^\d+(\.\d+){3}-noble\d+$`).MatchString(version[argument]) {
			t.Errorf("%s=%s is no version of a package of Intel's for Ubuntu 24.04", argument, version[argument])
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
					t.Errorf("%s is none of the packages that are known to be needed", name)
				case of != `"$`+argument+`"`:
					t.Errorf("%s is installed as %q, not with the version $%s", name, of, argument)
				case version[argument] == "":
					t.Errorf("%s has no version: %s has no default", name, argument)
				}
				installed[name] = true
			}
		}
	}
	for name := range packages {
		if !installed[name] {
			t.Errorf("%s is not installed", name)
		}
	}
}

// TestUser: a pod with runAsNonRoot takes a user by number only.
func TestUser(t *testing.T) {
	users := arguments(instructions(t, dockerfile), "USER")
	if len(users) != 1 || !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(users[0]) {
		t.Errorf("USER %q: there has to be one, by number, and not root", users)
	}
}

// TestNoAESM: with this variable in its environment, be it empty, Intel's library
// asks another daemon for the quotes, which here would be itself.
func TestNoAESM(t *testing.T) {
	content, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "SGX_AESM_ADDR") {
		t.Error("the image has SGX_AESM_ADDR")
	}
}

// TestRepository: Intel's packages are those that Intel has signed, and for the
// Ubuntu that they are installed on.
func TestRepository(t *testing.T) {
	all := instructions(t, dockerfile)
	bases := arguments(all, "FROM")
	if last := bases[len(bases)-1]; !strings.HasPrefix(last, "ubuntu:noble-") {
		t.Errorf("the packages are for Ubuntu noble, the image is of %s", last)
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
		t.Error("the key that the repository is signed with is not put where it is looked for")
	}
}
