package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node/nodetest"
)

// Each archive in testdata/machines is a machine and the inventory expected of it.
func TestMachines(t *testing.T) {
	archives, err := filepath.Glob("testdata/machines/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".txtar"), func(t *testing.T) {
			tree, want := nodetest.Read(t, archive)
			root := tree.Make(t)
			inv, err := Machine{Sysroot: root}.Discover()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, strings.ReplaceAll(describe(inv), root, "")); diff != "" {
				t.Errorf("%s\nfindings:\n%s", diff, strings.Join(inv.Findings, "\n"))
			}
		})
	}
}

func TestSGXOff(t *testing.T) {
	for _, tt := range []struct {
		machine string
		want    bool
	}{
		{"no-sgx", true},
		{"switched-off", true},
		{"no-driver", false},
		{"no-cpuid", false},
		{"nothing", false}, // the processor is not known
		{"azure-dc2s-v3", false},
	} {
		tree, _ := nodetest.Read(t, filepath.Join("testdata/machines", tt.machine+".txtar"))
		inv, err := Machine{Sysroot: tree.Make(t)}.Discover()
		if err != nil || inv.SGXOff() != tt.want {
			t.Errorf("%s: %t, %v, want %t", tt.machine, inv.SGXOff(), err, tt.want)
		}
	}
	if inv, err := (Machine{SimulatedEPC: MiB}).Discover(); err != nil || inv.SGXOff() {
		t.Errorf("simulated: %t, %v", inv.SGXOff(), err)
	}
}

// describe returns an inventory in the format of the archives.
func describe(inv Inventory) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if inv.Processor == nil {
		line("processor: not known")
	} else {
		line("processor: %s", inv.Processor)
	}
	for _, section := range inv.Sections {
		line("EPC: %d bytes on NUMA node %d", section.Size, section.NUMANode)
	}
	if inv.Driver != "" {
		line("driver: %s", inv.Driver)
	}
	for _, device := range []struct {
		name string
		*Device
	}{{"enclave", inv.Enclave}, {"provision", inv.Provision}} {
		if device.Device != nil {
			line("%s: %s -> %s", device.name, device.Path, device.Node)
		}
	}
	for _, warning := range inv.Warnings {
		line("warning: %s", warning)
	}
	if verdict := inv.Verdict(); verdict.Ready {
		line("ready")
	} else {
		line("not ready: %s\nadvice: %s", verdict.Problem, verdict.Advice)
	}
	return b.String()
}
