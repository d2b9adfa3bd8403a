package deviceplugin

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

func TestAllocate(t *testing.T) {
	hardware := node.Inventory{Sections: []node.Section{{Size: 64 * node.MiB}}, Device: "/dev/sgx_enclave"}
	device := []*v1beta1.DeviceSpec{{HostPath: "/dev/sgx_enclave", ContainerPath: "/dev/sgx_enclave", Permissions: "rw"}}
	mount := func(host string) []*v1beta1.Mount {
		return []*v1beta1.Mount{{HostPath: host, ContainerPath: "/var/run/aesmd", ReadOnly: true}}
	}
	tests := []struct {
		name       string
		inventory  node.Inventory
		aesmDir    string
		containers [][]string
		want       []*v1beta1.ContainerAllocateResponse
		code       codes.Code
		message    string
	}{
		{
			name:       "hardware",
			inventory:  hardware,
			aesmDir:    "/var/run/aesmd",
			containers: [][]string{{"0", "1"}},
			want:       []*v1beta1.ContainerAllocateResponse{{Devices: device, Mounts: mount("/var/run/aesmd")}},
		},
		{
			name:       "without AESM",
			inventory:  hardware,
			containers: [][]string{{"_"}},
			want:       []*v1beta1.ContainerAllocateResponse{{Devices: device}},
		},
		{
			name:       "simulated, AESM elsewhere",
			inventory:  node.Simulated(64 * node.MiB),
			aesmDir:    "/run/confcom/aesmd",
			containers: [][]string{{"0"}},
			want:       []*v1beta1.ContainerAllocateResponse{{Mounts: mount("/run/confcom/aesmd")}},
		},
		{
			name:       "several containers",
			inventory:  hardware,
			containers: [][]string{{"0"}, {}, {"1"}},
			want:       []*v1beta1.ContainerAllocateResponse{{Devices: device}, {Devices: device}, {Devices: device}},
		},
		{
			name:      "no container",
			inventory: hardware,
		},
		{
			name:       "a device beyond the last",
			inventory:  hardware,
			containers: [][]string{{"0"}, {"_", "00"}},
			code:       codes.NotFound,
			message:    `device "00" is not one of the 64 MiB of EPC on this node`,
		},
		{
			name:       "no device of ours",
			inventory:  hardware,
			containers: [][]string{{"sgx-epc-1"}},
			code:       codes.NotFound,
			message:    `device "sgx-epc-1" is not one of`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := Plugin{Inventory: test.inventory, AESMDir: test.aesmDir}
			s := service{devices: 64, grant: p.grant(), log: slog.New(slog.DiscardHandler)}
			request := new(v1beta1.AllocateRequest)
			for _, ids := range test.containers {
				request.ContainerRequests = append(request.ContainerRequests, &v1beta1.ContainerAllocateRequest{DevicesIds: ids})
			}
			response, err := s.Allocate(t.Context(), request)
			if status.Code(err) != test.code || !strings.Contains(status.Convert(err).Message(), test.message) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, response.GetContainerResponses(), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	options, err := new(service).GetDevicePluginOptions(t.Context(), nil)
	if err != nil || options.PreStartRequired || options.GetPreferredAllocationAvailable {
		t.Errorf("%v, %v", options, err)
	}
}
