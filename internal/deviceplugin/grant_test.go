package deviceplugin

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

// Machines whose devices containers get.
var (
	inKernel = node.Inventory{
		Driver:    node.DriverInKernel,
		Enclave:   &node.Device{Path: "/dev/sgx_enclave", Node: "/dev/sgx_enclave"},
		Provision: &node.Device{Path: "/dev/sgx_provision", Node: "/dev/sgx_provision"},
	}
	dcap = node.Inventory{
		Driver:    node.DriverDCAP,
		Enclave:   &node.Device{Path: "/dev/sgx/enclave", Node: "/dev/sgx/enclave"},
		Provision: &node.Device{Path: "/dev/sgx/provision", Node: "/dev/sgx/provision"},
	}
	legacy = node.Inventory{
		Driver:  node.DriverLegacy,
		Enclave: &node.Device{Path: "/dev/isgx", Node: "/dev/isgx"},
	}
	linked = node.Inventory{
		Driver:  node.DriverInKernel,
		Enclave: &node.Device{Path: "/dev/sgx_enclave", Node: "/dev/sgx/enclave"},
	}
)

func TestGrant(t *testing.T) {
	device := func(host, container string) *v1beta1.DeviceSpec {
		return &v1beta1.DeviceSpec{HostPath: host, ContainerPath: container, Permissions: "rw"}
	}
	aesm := func(host string) []*v1beta1.Mount {
		return []*v1beta1.Mount{{HostPath: host, ContainerPath: "/var/run/aesmd", ReadOnly: true}}
	}
	type response = v1beta1.ContainerAllocateResponse
	tests := []struct {
		name      string
		machine   node.Inventory
		edit      func(*Grant)
		enclave   *response
		provision *response
	}{
		{
			name:      "in-kernel driver",
			machine:   inKernel,
			enclave:   &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx_enclave", "/dev/sgx_enclave")}, Mounts: aesm("/var/run/aesmd")},
			provision: &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx_provision", "/dev/sgx_provision")}},
		},
		{
			name:      "DCAP driver",
			machine:   dcap,
			enclave:   &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx/enclave", "/dev/sgx/enclave")}, Mounts: aesm("/var/run/aesmd")},
			provision: &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx/provision", "/dev/sgx/provision")}},
		},
		{
			name:      "legacy driver",
			machine:   legacy,
			enclave:   &response{Devices: []*v1beta1.DeviceSpec{device("/dev/isgx", "/dev/isgx")}, Mounts: aesm("/var/run/aesmd")},
			provision: &response{},
		},
		{
			name:      "a link is resolved",
			machine:   linked,
			edit:      func(g *Grant) { g.AESMDir = "" },
			enclave:   &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx/enclave", "/dev/sgx_enclave")}},
			provision: &response{},
		},
		{
			name:    "legacy paths",
			machine: inKernel,
			edit:    func(g *Grant) { g.LegacyPaths, g.AESMDir = true, "" },
			enclave: &response{Devices: []*v1beta1.DeviceSpec{
				device("/dev/sgx_enclave", "/dev/sgx_enclave"), device("/dev/sgx_enclave", "/dev/sgx/enclave"),
			}},
			provision: &response{Devices: []*v1beta1.DeviceSpec{
				device("/dev/sgx_provision", "/dev/sgx_provision"), device("/dev/sgx_provision", "/dev/sgx/provision"),
			}},
		},
		{
			name:      "legacy paths that are the usual ones",
			machine:   dcap,
			edit:      func(g *Grant) { g.LegacyPaths, g.AESMDir = true, "" },
			enclave:   &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx/enclave", "/dev/sgx/enclave")}},
			provision: &response{Devices: []*v1beta1.DeviceSpec{device("/dev/sgx/provision", "/dev/sgx/provision")}},
		},
		{
			name:      "simulated, AESM elsewhere",
			machine:   node.Inventory{Simulated: true},
			edit:      func(g *Grant) { g.AESMDir = "/run/confcom/aesmd" },
			enclave:   &response{Mounts: aesm("/run/confcom/aesmd")},
			provision: &response{},
		},
		{
			name:      "CDI",
			machine:   inKernel,
			edit:      func(g *Grant) { g.CDI = true },
			enclave:   &response{CdiDevices: []*v1beta1.CDIDevice{{Name: "confcom.github.io/sgx=enclave"}}, Mounts: aesm("/var/run/aesmd")},
			provision: &response{CdiDevices: []*v1beta1.CDIDevice{{Name: "confcom.github.io/sgx=provision"}}},
		},
		{
			name:      "CDI without devices",
			machine:   node.Inventory{Simulated: true},
			edit:      func(g *Grant) { g.CDI, g.AESMDir = true, "" },
			enclave:   &response{},
			provision: &response{},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			grant := Grant{AESMDir: DefaultAESMDir, CDIDir: t.TempDir()}
			if test.edit != nil {
				test.edit(&grant)
			}
			got, err := grant.For(test.machine)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.enclave, got.enclave, protocmp.Transform()); diff != "" {
				t.Errorf("enclave: %s", diff)
			}
			if diff := cmp.Diff(test.provision, got.provision, protocmp.Transform()); diff != "" {
				t.Errorf("provision: %s", diff)
			}
			// The quote helper mounts the AESM directory itself, as it writes to it.
			both := &response{
				Devices:    slices.Concat(test.enclave.Devices, test.provision.Devices),
				CdiDevices: slices.Concat(test.enclave.CdiDevices, test.provision.CdiDevices),
			}
			if diff := cmp.Diff(both, got.quoteHelper, protocmp.Transform()); diff != "" {
				t.Errorf("quote helper: %s", diff)
			}
		})
	}
}

// Container runtimes read the CDI file, and each file replaces the one before.
func TestCDIFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cdi") // does not exist yet
	for _, legacyPaths := range []bool{false, true} {
		grant := Grant{CDI: true, CDIDir: dir, LegacyPaths: legacyPaths}
		if _, err := grant.For(inKernel); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "confcom-sgx.json"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"cdiVersion":"0.5.0","kind":"confcom.github.io/sgx","devices":[` +
		`{"name":"enclave","containerEdits":{"deviceNodes":[{"path":"/dev/sgx_enclave","hostPath":"/dev/sgx_enclave","permissions":"rw"},{"path":"/dev/sgx/enclave","hostPath":"/dev/sgx_enclave","permissions":"rw"}]}},` +
		`{"name":"provision","containerEdits":{"deviceNodes":[{"path":"/dev/sgx_provision","hostPath":"/dev/sgx_provision","permissions":"rw"},{"path":"/dev/sgx/provision","hostPath":"/dev/sgx_provision","permissions":"rw"}]}}],` +
		`"containerEdits":{}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("files: %v", entries)
	}
}
