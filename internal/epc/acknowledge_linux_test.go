package epc

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// An acknowledgement is one of a certain file, as long as it is not released.
func TestAcknowledge(t *testing.T) {
	dir := t.TempDir()
	expect := func(when string, want bool) {
		t.Helper()
		if got, err := Acknowledged(dir); got != want || err != nil {
			t.Errorf("%s: acknowledged %t, error %v; want %t", when, got, err, want)
		}
	}
	if _, err := Acknowledged(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: error %v", err)
	}
	a := Advertisement{Resource: "example.com/epc", DeviceResource: "example.com/enclave", State: StateClosing, Wanted: Node, MiB: 64, PodNames: []string{}}
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	expect("nobody has", false)
	first, err := Acknowledge(dir, a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Acknowledge(dir, a)
	if err != nil {
		t.Fatal(err)
	}
	expect("two have", true)
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	expect("one of them still", true)
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	expect("the file is replaced by one that says the same", false)
	other := a
	other.State = StateReleasing
	if _, err := Acknowledge(dir, other); err == nil || !strings.Contains(err.Error(), "it has been replaced") {
		t.Errorf("what the file does not say: error %v", err)
	}
	third, err := Acknowledge(dir, a)
	if err != nil {
		t.Fatal(err)
	}
	expect("acknowledged again", true)
	for _, acknowledgement := range []*Acknowledgement{second, third} {
		if err := acknowledgement.Release(); err != nil {
			t.Error(err)
		}
	}
	expect("released", false)
}
