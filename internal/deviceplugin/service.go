package deviceplugin

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// containerDevice is where enclaves look for the device in their container.
const containerDevice = "/dev/sgx_enclave"

// service answers the kubelet during one registration. It has neither
// GetPreferredAllocation, for which the kubelet would send the ID of every free
// device, nor PreStartContainer.
type service struct {
	v1beta1.UnimplementedDevicePluginServer

	devices  int
	grant    *v1beta1.ContainerAllocateResponse
	log      *slog.Logger
	stopping chan struct{} // closed when the registration is to end
	ended    chan struct{} // told when the kubelet ends the stream of devices
}

// grant is what a container with some EPC gets, whatever the amount. The AESM
// directory is mounted rather than the socket in it, since a mounted socket
// would be a dead one after the daemon behind it has restarted.
func (p *Plugin) grant() *v1beta1.ContainerAllocateResponse {
	grant := new(v1beta1.ContainerAllocateResponse)
	if p.Inventory.Device != "" {
		grant.Devices = []*v1beta1.DeviceSpec{{
			HostPath:      p.Inventory.Device,
			ContainerPath: containerDevice,
			Permissions:   "rw",
		}}
	}
	if p.AESMDir != "" {
		grant.Mounts = []*v1beta1.Mount{{
			HostPath:      p.AESMDir,
			ContainerPath: DefaultAESMDir,
			ReadOnly:      true,
		}}
	}
	return grant
}

// GetDevicePluginOptions says that no optional call is there.
func (s *service) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return &v1beta1.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices once: they do not change.
func (s *service) ListAndWatch(_ *v1beta1.Empty, stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse]) error {
	err := stream.Send(&v1beta1.ListAndWatchResponse{Devices: listDevices(s.devices)})
	if err == nil {
		select {
		case <-s.stopping:
			return nil
		case <-stream.Context().Done():
		}
	}
	select {
	case s.ended <- struct{}{}:
	default: // it is known already
	}
	return err
}

// Allocate gives each container the device and the AESM directory. The kubelet
// starts no pod while it waits for the answer, so nothing here may block.
func (s *service) Allocate(ctx context.Context, request *v1beta1.AllocateRequest) (*v1beta1.AllocateResponse, error) {
	response := new(v1beta1.AllocateResponse)
	for _, container := range request.ContainerRequests {
		for _, id := range container.DevicesIds {
			if i, ok := deviceIndex(id); !ok || i >= s.devices {
				return nil, status.Errorf(codes.NotFound, "device %q is not one of the %d MiB of EPC on this node", id, s.devices)
			}
		}
		s.log.DebugContext(ctx, "EPC allocated to a container", "MiB", len(container.DevicesIds))
		response.ContainerResponses = append(response.ContainerResponses, s.grant)
	}
	return response, nil
}
