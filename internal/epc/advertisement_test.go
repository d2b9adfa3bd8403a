package epc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	valid = `{"resource":"example.com/epc","deviceResource":"example.com/enclave","state":"devices","wanted":"node","mib":64,"message":"1 pod","pods":2,"podNames":["a/one"]}`
	off   = `{"resource":"example.com/epc","deviceResource":"example.com/enclave","state":"none","mib":0,"message":"no SGX","pods":0,"podNames":[]}`
)

// What is written is read, and every user can read it.
func TestAdvertisement(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadAdvertisement(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for text, held := range map[string]bool{valid: true, off: false, strings.Replace(valid, `"mib":64`, `"mib":64,"withheldMiB":7`, 1): true, strings.Replace(valid, "node", "devices", 1): false, strings.Replace(valid, `"devices","wanted":"node"`, `"node","wanted":"devices"`, 1): true} {
		a, err := parseAdvertisement([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if a.Held() != held {
			t.Errorf("%s: held %t, want %t", text, a.Held(), held)
		}
		if err := a.Write(dir); err != nil {
			t.Fatal(err)
		}
		got, err := ReadAdvertisement(dir)
		if diff := cmp.Diff(a, got); diff != "" || err != nil {
			t.Errorf("%v, %s", err, diff)
		}
	}
	info, err := os.Stat(filepath.Join(dir, AdvertisementFile))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, error %v", entries, err)
	}
}

func TestInvalidAdvertisement(t *testing.T) {
	edit := func(before, after string) string {
		edited := strings.Replace(valid, before, after, 1)
		if edited == valid {
			t.Fatalf("%s is not in %s", before, valid)
		}
		return edited
	}
	for _, test := range []struct{ text, want string }{
		{"", "unexpected end of JSON input"},
		{"null", "want a JSON object"},
		{"{}", "the name of a resource is missing"},
		{valid[:40], "unexpected end of JSON input"},
		{valid + "{}", "invalid character"},
		{edit(`"mib"`, `"newer":1,"mib"`), `unknown member "newer"`},
		{edit(`"mib"`, `"mib":1,"mib"`), `duplicate member "mib"`},
		{edit(`"devices"`, `"open"`), "not one of none, devices, closing, releasing, node"},
		{edit(`"state":"devices",`, ""), "the state is missing"},
		{edit(`"wanted":"node",`, ""), `mode "" is wanted in state devices`},
		{edit(`"node"`, `"auto"`), `mode "auto" is wanted in state devices`},
		{edit(`"devices"`, `"none"`), `mode "node" is wanted in state none`},
		{edit("example.com/epc", "epc"), "not the name of an extended resource"},
		{edit("example.com/enclave", "cpu"), "not the name of an extended resource"},
		{edit("64", "-1"), "not numbers that a node can have"},
		{edit(`"mib"`, `"withheldMiB":-1,"mib"`), "not numbers that a node can have"},
		{edit("64", "1.5"), "mib: "},
		{edit(`"pods":2`, `"pods":0`), "not numbers that a node can have"},
		{edit(`"1 pod"`, `"`+strings.Repeat("x", maxAdvertisement)+`"`), "more than 65536 bytes"},
	} {
		if a, err := parseAdvertisement([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.200s: %+v, error %v; want %s", test.text, a, err, test.want)
		}
	}
}

func FuzzAdvertisement(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(off))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseAdvertisement(text)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := a.Write(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadAdvertisement(dir); err != nil && len(text) < maxAdvertisement/8 || err == nil && got.State != a.State {
			t.Errorf("%s is read as %+v, error %v", text, got, err)
		}
	})
}
