package supportbundle_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/node/nodetest"
)

// kubectl stands in for kubectl.
const kubectl = `#!/bin/sh
case "$*" in
*version*) echo "Server Version: v1.37.2" ;;
*jsonpath=\{.items\[\*\].metadata.name\}*) echo "sgx-quote-helper-abcde" ;;
*" logs "*--previous*) echo "previous terminated container not found" >&2; exit 1 ;;
*" logs "*) echo '{"msg":"quote"}' ;;
*--all-namespaces*UnexpectedAdmissionError*) echo "default web-1 node-1 ReplicaSet: no healthy devices present" ;;
*policies*) echo "forbidden" >&2; exit 1 ;;
*statusz*) echo '{"ready": true}' ;;
*events*) echo "events of $*" ;;
*) echo "$*" ;;
esac
`

// read returns the files of a bundle.
func read(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		name, inside := strings.CutPrefix(header.Name, "confcom-support/")
		if !inside {
			t.Errorf("%s is beside the directory of the bundle", header.Name)
		}
		files[name] = string(text)
	}
}

// A node that has everything, and a cluster.
func TestBundle(t *testing.T) {
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/statusz":
			_, _ = io.WriteString(w, `{"daemon": "sgx-quote-helper", "version": "1.2.3"}`)
		case "/metrics":
			_, _ = io.WriteString(w, "confcom_build_info 1\n")
		}
	}))
	defer daemon.Close()
	root := nodetest.Tree{
		"etc/sgx_default_qcnl.conf": `{"pccs_url": "https://me:secret@pccs.example/sgx/certification/v4/"}`,
		"dev/sgx_enclave":           nodetest.Device,
		"var/lib/dpkg/status":       "Package: libsgx-dcap-ql\nStatus: install ok installed\nVersion: 1.25\n\nPackage: vim\nVersion: 9\n",
		"var/log/pods/confcom-system_sgx-quote-helper-x_1/sgx-quote-helper/0.log": "a line\n",
		"var/log/pods/other_x_1/main/0.log":                                       "of another namespace\n",
	}.Make(t)
	program := filepath.Join(t.TempDir(), "kubectl")
	if err := os.WriteFile(program, []byte(kubectl), 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "b.tar.gz")
	args := []string{"support-bundle", "--sysroot=" + root, "--kubectl=" + program, "--daemon-address=" + strings.TrimPrefix(daemon.URL, "http://"), "--out=" + out}

	code, _, listed := clitest.Run(t, nil, append(args, "--list")...)
	if _, err := os.Stat(out); code != 0 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("--list: exit %d, file: %v", code, err)
	}
	code, _, printed := clitest.Run(t, nil, args...)
	if code != 0 || !strings.HasPrefix(printed, listed) || !strings.Contains(printed, "wrote the support bundle (") {
		t.Errorf("exit %d\n%s", code, printed)
	}
	files := read(t, out)
	for name, want := range map[string]string{
		"CONTENTS.txt":        "May be private: read it before you send it\n",
		"version.txt":         "confcom",
		"node.json":           `"verdict"`,
		"doctor.txt":          "devices",
		"machine.txt":         "sgx_enclave",
		"packages.txt":        "libsgx-dcap-ql 1.25 (install ok installed)\n",
		"quote-provider.conf": "https://[left out]@pccs.example/",
		"daemon/statusz.json": "1.2.3",
		"daemon/metrics.txt":  "confcom_build_info",
		"logs/confcom-system_sgx-quote-helper-x_1/sgx-quote-helper/0.log": "a line",
		"cluster/version.txt":                         "v1.37.2",
		"cluster/events.txt":                          "--namespace=confcom-system",
		"cluster/refused-pods.txt":                    "web-1 node-1 ReplicaSet: no healthy devices present",
		"cluster/sgx-quote-helper-abcde.log":          `{"msg":"quote"}`,
		"cluster/sgx-quote-helper-abcde.statusz.json": `"ready": true`,
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s: %q, want %q", name, files[name], want)
		}
	}
	for name, text := range files {
		if strings.Contains(name+text, "secret") || strings.Contains(text, "another namespace") || strings.Contains(text, "vim") {
			t.Errorf("%s has what does not belong there: %q", name, text)
		}
	}
	if strings.Contains(files["CONTENTS.txt"], "previous.log") {
		t.Errorf("a container that has not restarted has a former log:\n%s", files["CONTENTS.txt"])
	}
	if !strings.Contains(strings.Join(strings.Fields(files["CONTENTS.txt"]), " "), "cluster/policies.txt: kubectl: exit status 1: forbidden") {
		t.Errorf("what was not collected is not listed:\n%s", files["CONTENTS.txt"])
	}
	private, rest, _ := strings.Cut(printed, "\nNot private\n")
	if !strings.Contains(private, "0.log") || !strings.Contains(private, "quote-provider.conf") || !strings.Contains(private, "node.json") || !strings.Contains(rest, "machine.txt") {
		t.Errorf("what may be private is not first:\n%s", printed)
	}
}

// A machine that has nothing still gives a bundle.
func TestNothing(t *testing.T) {
	out := filepath.Join(t.TempDir(), "b.tar.gz")
	code, _, printed := clitest.Run(t, nil, "support-bundle", "--sysroot="+t.TempDir(), "--kubectl=no-such-kubectl", "--daemon-address=", "--out="+out)
	if code != 0 || !strings.Contains(printed, "no kubectl here") {
		t.Errorf("exit %d\n%s", code, printed)
	}
	if files := read(t, out); files["version.txt"] == "" || files["doctor.txt"] == "" {
		t.Errorf("%q", files)
	}
}

func TestBadInput(t *testing.T) {
	for _, args := range [][]string{{"--kubeconfig=/nonexistent"}, {"--out"}, {"x"}} {
		if code, _, _ := clitest.Run(t, nil, append([]string{"support-bundle"}, args...)...); code != exit.CodeBadInput {
			t.Errorf("%q: exit %d", args, code)
		}
	}
	if code, _, errs := clitest.Run(t, nil, "support-bundle", "--kubectl=", "--daemon-address=", "--sysroot="+t.TempDir(), "--out=/nonexistent/b"); code != exit.CodeFailed {
		t.Errorf("a directory that does not exist: exit %d: %s", code, errs)
	}
}
