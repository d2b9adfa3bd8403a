package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine makes a directory tree that looks like a machine. Each key is a path;
// a value that begins with "-> " makes a symbolic link.
func machine(t *testing.T, tree map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range tree {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// device stands for a character device. Making a real one takes privileges;
// a link to one that every machine has does not.
const device = "-> " + os.DevNull

func TestDiscover(t *testing.T) {
	tests := []struct {
		name     string
		tree     map[string]string
		want     Inventory // Findings are not compared
		findings string    // with ROOT for the sysroot
		usable   bool
	}{
		{
			name: "Azure DC2s_v3",
			tree: map[string]string{
				"sys/devices/system/node/node0/x86/sgx_total_bytes": "8589934592\n",
				"sys/devices/system/node/online":                    "0\n",
				"dev/sgx_enclave":                                   device,
			},
			want: Inventory{
				Sections: []Section{{NUMANode: 0, Size: 8192 * MiB}},
				Device:   "/dev/sgx_enclave",
			},
			findings: "ROOT/sys/devices/system/node/node0/x86/sgx_total_bytes says 8589934592 bytes; ROOT/dev/sgx_enclave is a character device",
			usable:   true,
		},
		{
			name: "two NUMA nodes and one without EPC",
			tree: map[string]string{
				"sys/devices/system/node/node0/x86/sgx_total_bytes":  "137438953472\n",
				"sys/devices/system/node/node1/x86/sgx_total_bytes":  "0\n",
				"sys/devices/system/node/node10/x86/sgx_total_bytes": "137438953472\n",
				"sys/devices/system/node/node_of_another_kind":       "",
				"dev/sgx_enclave": device,
			},
			want: Inventory{
				Sections: []Section{{NUMANode: 0, Size: 131072 * MiB}, {NUMANode: 10, Size: 131072 * MiB}},
				Device:   "/dev/sgx_enclave",
			},
			findings: "node1/x86/sgx_total_bytes says 0 bytes",
			usable:   true,
		},
		{
			name:     "no SGX",
			tree:     map[string]string{"sys/devices/system/node/node0/cpulist": "0-1\n"},
			findings: "ROOT/sys/devices/system/node/node*/x86/sgx_total_bytes is not there; ROOT/dev/sgx_enclave is not there",
		},
		{
			name: "nothing at all",
			tree: nil,
		},
		{
			name: "EPC without a device",
			tree: map[string]string{"sys/devices/system/node/node0/x86/sgx_total_bytes": "8589934592\n"},
			want: Inventory{Sections: []Section{{NUMANode: 0, Size: 8192 * MiB}}},
		},
		{
			name: "a directory in the place of the device",
			tree: map[string]string{
				"sys/devices/system/node/node0/x86/sgx_total_bytes": "8589934592\n",
				"dev/sgx_enclave/made-by-a-runtime":                 "",
			},
			want:     Inventory{Sections: []Section{{NUMANode: 0, Size: 8192 * MiB}}},
			findings: "ROOT/dev/sgx_enclave is not a character device (drwxr-xr-x)",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := machine(t, test.tree)
			got, err := Discover(root)
			if err != nil {
				t.Fatal(err)
			}
			if findings := strings.ReplaceAll(strings.Join(got.Findings, "; "), root, "ROOT"); !strings.Contains(findings, test.findings) {
				t.Errorf("findings: %s\nwant: %s", findings, test.findings)
			}
			if got.Usable() != test.usable {
				t.Errorf("usable: %t", got.Usable())
			}
			got.Findings = nil
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDiscoverErrors(t *testing.T) {
	const epc = "sys/devices/system/node/node3/x86/sgx_total_bytes"
	tests := []struct {
		name string
		tree map[string]string
		want string
	}{
		{"no number", map[string]string{epc: "many\n"}, "EPC of NUMA node 3: ROOT/" + epc + ": not a number of bytes: "},
		{"negative", map[string]string{epc: "-1\n"}, "not a number of bytes"},
		{"beyond measure", map[string]string{epc: "9223372036854775808\n"}, "not a number of bytes"},
		{"a directory", map[string]string{epc + "/file": ""}, "read the EPC of NUMA node 3: "},
		{"a loop of links", map[string]string{"dev/sgx_enclave": "-> sgx_enclave"}, "look for the SGX device: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := machine(t, test.tree)
			_, err := Discover(root)
			if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), root, "ROOT"), test.want) && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// The machine that runs the tests may have SGX or not; looking must be safe.
func TestDiscoverThisMachine(t *testing.T) {
	inventory, err := Discover("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(inventory)
	if inventory.Simulated {
		t.Error("a real machine is no simulation")
	}
}

func TestSimulated(t *testing.T) {
	inventory := Simulated(64 * MiB)
	if inventory.EPC() != 64*MiB || !inventory.Usable() || inventory.Device != "" {
		t.Errorf("%+v", inventory)
	}
	if got, want := inventory.String(), "64Mi of EPC (SIMULATED): 64Mi of EPC are simulated"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
