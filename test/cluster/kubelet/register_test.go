//go:build kubelet

package kubelet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// The devices of containers.
var (
	enclaveDevice   = kubecontainer.DeviceInfo{PathOnHost: "/dev/sgx_enclave", PathInContainer: "/dev/sgx_enclave", Permissions: "rw"}
	provisionDevice = kubecontainer.DeviceInfo{PathOnHost: "/dev/sgx_provision", PathInContainer: "/dev/sgx_provision", Permissions: "rw"}
)

// simulated returns a device that is replaced by /dev/null on the host.
func simulated(device kubecontainer.DeviceInfo) kubecontainer.DeviceInfo {
	device.PathOnHost = "/dev/null"
	return device
}

// legacy returns a device under another name in the container.
func legacy(device kubecontainer.DeviceInfo, path string) kubecontainer.DeviceInfo {
	device.PathInContainer = path
	return device
}

// TestContainers checks that containers get exactly the devices of the resources that
// they request, and the AESM directory together with the enclave device.
func TestContainers(t *testing.T) {
	const usual = "/var/run/aesmd"
	everything := map[string]int64{epc: 64, enclave: 256, provision: 256}
	tests := []struct {
		name      string
		args      []string
		resources map[string]int64 // of the node
		requests  []string         // of the container, one of each
		devices   []kubecontainer.DeviceInfo
		aesm      string // directory on the host
	}{
		{"EPC", nil,
			map[string]int64{epc: 64}, []string{epc},
			[]kubecontainer.DeviceInfo{enclaveDevice}, usual},
		{"EPC on a node with all resources", []string{"--resources=epc,enclave,provision"},
			everything, []string{epc},
			[]kubecontainer.DeviceInfo{enclaveDevice}, usual},
		{"enclave", []string{"--resources=epc,enclave,provision"},
			everything, []string{enclave},
			[]kubecontainer.DeviceInfo{enclaveDevice}, usual},
		{"provision", []string{"--resources=epc,enclave,provision"},
			everything, []string{provision},
			[]kubecontainer.DeviceInfo{provisionDevice}, ""},
		{"EPC and provision", []string{"--resources=epc,provision"},
			map[string]int64{epc: 64, provision: 256}, []string{epc, provision},
			[]kubecontainer.DeviceInfo{enclaveDevice, provisionDevice}, usual},
		{"everything", []string{"--resources=epc,enclave,provision", "--slots=10"},
			map[string]int64{epc: 64, enclave: 10, provision: 10}, []string{epc, enclave, provision},
			[]kubecontainer.DeviceInfo{enclaveDevice, provisionDevice}, usual},
		{"everything, simulated", []string{"--resources=epc,enclave,provision", "--simulate-epc=64Mi", "--simulate-device=/dev/null"},
			everything, []string{epc, enclave, provision},
			[]kubecontainer.DeviceInfo{simulated(enclaveDevice), simulated(provisionDevice)}, usual},
		{"EPC, simulated without a device", []string{"--simulate-epc=64Mi"},
			map[string]int64{epc: 64}, []string{epc},
			nil, usual},
		{"EPC with old names", []string{"--legacy-device-paths"},
			map[string]int64{epc: 64}, []string{epc},
			[]kubecontainer.DeviceInfo{legacy(enclaveDevice, "/dev/sgx/enclave"), enclaveDevice}, usual},
		{"AESM elsewhere", []string{"--aesm-dir=/run/confcom/aesmd"},
			map[string]int64{epc: 64}, []string{epc},
			[]kubecontainer.DeviceInfo{enclaveDevice}, "/run/confcom/aesmd"},
		{"no AESM", []string{"--aesm-dir="},
			map[string]int64{epc: 64}, []string{epc},
			[]kubecontainer.DeviceInfo{enclaveDevice}, ""},
		{"some EPC is reserved", []string{"--reserve-epc=16Mi"},
			map[string]int64{epc: 48}, []string{epc},
			[]kubecontainer.DeviceInfo{enclaveDevice}, usual},
		{"node mode", []string{"--advertise=node"},
			map[string]int64{enclave: 256}, []string{enclave},
			[]kubecontainer.DeviceInfo{enclaveDevice}, usual},
		{"node mode with provision", []string{"--advertise=node", "--resources=epc,provision"},
			map[string]int64{enclave: 256, provision: 256}, []string{enclave, provision},
			[]kubecontainer.DeviceInfo{enclaveDevice, provisionDevice}, usual},
		{"other names of resources", []string{"--resources=epc,enclave,provision", "--epc-resource=example.com/epc", "--enclave-resource=example.com/enclave", "--provision-resource=example.com/provision"},
			map[string]int64{"example.com/epc": 64, "example.com/enclave": 256, "example.com/provision": 256}, []string{"example.com/provision"},
			[]kubecontainer.DeviceInfo{provisionDevice}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			m.setEPC(64)
			m.addDevice("dev/sgx_enclave")
			m.addDevice("dev/sgx_provision")
			k := startKubelet(t)
			p := startPlugin(t, append([]string{"--sysroot=" + m.root}, test.args...)...)
			for name, n := range test.resources {
				k.await(name, all(n))
				if n := kubeletLog.registrations(name); n != 1 {
					t.Errorf("%s: %d registrations, want 1", name, n)
				}
			}
			if names := k.resources(); len(names) != len(test.resources) {
				t.Errorf("the node has %v, want %v", names, test.resources)
			}
			if n := len(pluginSockets(t)); n != len(test.resources) {
				t.Errorf("%d sockets for %d resources", n, len(test.resources))
			}
			for name, devices := range k.manager.GetAllocatableDevices(klog.Background()) {
				for id, device := range devices {
					if device.Topology != nil {
						t.Errorf("%s: device %s has a topology", name, id)
					}
				}
			}

			got, err := k.admit("pod", 1, test.requests...)
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(got.Devices, func(a, b kubecontainer.DeviceInfo) int {
				return strings.Compare(a.PathInContainer, b.PathInContainer)
			})
			if !slices.Equal(got.Devices, test.devices) {
				t.Errorf("devices %+v, want %+v", got.Devices, test.devices)
			}
			var mounts []string
			for _, mount := range got.Mounts {
				mounts = append(mounts, fmt.Sprintf("%s at %s, read-only: %t", mount.HostPath, mount.ContainerPath, mount.ReadOnly))
			}
			var want []string
			if test.aesm != "" {
				want = []string{test.aesm + " at /var/run/aesmd, read-only: true"}
			}
			if !slices.Equal(mounts, want) {
				t.Errorf("mounts %q, want %q", mounts, want)
			}
			p.stop()
			for name, n := range test.resources {
				k.await(name, count{n, 0})
			}
			if left := pluginSockets(t); len(left) > 0 {
				t.Errorf("sockets left behind: %v", left)
			}
		})
	}
}

// TestCDI checks that a container runtime finds the devices by the names that the kubelet
// passes on.
func TestCDI(t *testing.T) {
	specDir := t.TempDir()
	k := startKubelet(t)
	p := startPlugin(t, "--simulate-epc=64Mi", "--simulate-device=/dev/null", "--resources=epc,provision", "--cdi", "--cdi-dir="+specDir)
	k.await(epc, all(64))
	k.await(provision, all(256))
	for _, test := range []struct {
		name     string
		requests []string
		devices  []string // in the container
	}{
		{"EPC", []string{epc}, []string{"/dev/sgx_enclave"}},
		{"EPC and provision", []string{epc, provision}, []string{"/dev/sgx_enclave", "/dev/sgx_provision"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := k.admit(test.name, 1, test.requests...)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Devices) > 0 {
				t.Errorf("devices in addition to those of CDI: %+v", got.Devices)
			}
			// As containerd does.
			runtime, err := cdi.NewCache(cdi.WithSpecDirs(specDir), cdi.WithAutoRefresh(false))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, device := range got.CDIDevices {
				names = append(names, device.Name)
			}
			container := new(specs.Spec)
			if _, err := runtime.InjectDevices(container, names...); err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, device := range container.Linux.Devices {
				paths = append(paths, device.Path)
				if device.Type != "c" || device.Major != 1 || device.Minor != 3 {
					t.Errorf("%s is not the host's /dev/null: %+v", device.Path, device)
				}
			}
			slices.Sort(paths)
			if !slices.Equal(paths, test.devices) {
				t.Errorf("devices %q, want %q", paths, test.devices)
			}
		})
	}
	p.stop()
}

// TestSizes checks that the plugin advertises as many devices as the kubelet can handle,
// and logs a warning about the rest.
func TestSizes(t *testing.T) {
	const capped = "not all EPC is advertised"
	tests := []struct {
		name      string
		args      []string
		resources map[string]int64
		warning   []string // texts of the line with the message capped
	}{
		{"the largest machine, as devices", []string{"--simulate-epc=256Gi", "--max-devices=262144", "--advertise=devices"},
			map[string]int64{epc: 262144}, nil},
		{"the largest machine, before 1.36", []string{"--simulate-epc=256Gi", "--kubelet-version=1.35"},
			map[string]int64{epc: 262144}, nil},
		{"as much as the kubelet can handle", []string{"--simulate-epc=8Gi"},
			map[string]int64{epc: 8192}, nil},
		{"more than the kubelet can handle", []string{"--simulate-epc=512Gi", "--advertise=devices"},
			map[string]int64{epc: 8192}, []string{strconv.Itoa(512<<10 - 8192), "8192"}},
		{"more than the kubelet accepts", []string{"--simulate-epc=512Gi", "--advertise=devices", "--kubelet-version=1.35"},
			map[string]int64{epc: 262144}, []string{strconv.Itoa(512<<10 - 262144), "262144"}},
		{"more than the kubelet can handle, mode auto", []string{"--simulate-epc=512Gi"},
			map[string]int64{enclave: 256}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := startKubelet(t)
			p := startPlugin(t, test.args...)
			for name, n := range test.resources {
				k.await(name, all(n))
			}
			if names := k.resources(); len(names) != len(test.resources) {
				t.Errorf("the node has %v, want %v", names, test.resources)
			}
			if test.warning != nil {
				warned := false
				for line := range strings.Lines(p.String()) {
					here := strings.Contains(line, `"level":"WARN"`) && strings.Contains(line, capped)
					for _, text := range test.warning {
						here = here && strings.Contains(line, text)
					}
					warned = warned || here
				}
				if !warned {
					t.Errorf("no warning %q with %q", capped, test.warning)
				}
			} else if strings.Contains(p.String(), capped) {
				t.Errorf("unexpected warning %q", capped)
			}
			p.stop()
		})
	}
}

// TestAllocate sends requests to the plugin's socket, some of which a kubelet would not
// send, and checks that none of them harms the plugin.
func TestAllocate(t *testing.T) {
	k := startKubelet(t)
	p := startPlugin(t, simulate(64))
	k.await(epc, all(64))
	socket := onlySocket(t)
	client := dial(t, socket)
	var ids []string
	for id := range k.manager.GetAllocatableDevices(klog.Background())[epc] {
		ids = append(ids, id)
	}

	tests := []struct {
		name       string
		containers [][]string
		code       codes.Code
		message    string
	}{
		{"one device", [][]string{ids[:1]}, codes.OK, ""},
		{"every device", [][]string{ids}, codes.OK, ""},
		{"several containers", [][]string{ids[:10], ids[10:20], ids[20:]}, codes.OK, ""},
		{"an unknown device", [][]string{{ids[0], "no-such-device"}}, codes.NotFound, `"no-such-device"`},
		{"an empty ID", [][]string{{""}}, codes.NotFound, `""`},
		{"an unknown device in a later container", [][]string{ids[:1], {"no-such-device"}}, codes.NotFound, `"no-such-device"`},
		{"a device twice", [][]string{{ids[0], ids[1], ids[0]}}, codes.InvalidArgument, strconv.Quote(ids[0])},
		{"a device of two containers", [][]string{{ids[0]}, {ids[0]}}, codes.InvalidArgument, strconv.Quote(ids[0])},
		{"one device again", [][]string{ids[:1]}, codes.OK, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response, err := client.Allocate(t.Context(), request(test.containers...))
			if status.Code(err) != test.code || !strings.Contains(status.Convert(err).Message(), test.message) {
				t.Fatalf("error %v, want %s and %s in it", err, test.code, test.message)
			}
			if err == nil && len(response.ContainerResponses) != len(test.containers) {
				t.Errorf("%d responses for %d containers", len(response.ContainerResponses), len(test.containers))
			}
		})
	}

	if onlySocket(t) != socket || kubeletLog.registrations(epc) != 1 {
		t.Error("the plugin has registered again")
	}
	if _, err := k.admit("pod", 64, epc); err != nil {
		t.Errorf("admit a pod afterwards: %v", err)
	}
	p.stop()
}

// request returns a request for the given devices of each container.
func request(containers ...[]string) *v1beta1.AllocateRequest {
	r := new(v1beta1.AllocateRequest)
	for _, ids := range containers {
		r.ContainerRequests = append(r.ContainerRequests, &v1beta1.ContainerAllocateRequest{DevicesIds: ids})
	}
	return r
}
