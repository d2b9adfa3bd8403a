package deviceplugin

import (
	"context"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// service answers the kubelet during one registration. It has neither
// GetPreferredAllocation, for which the kubelet would send the ID of every free
// device, nor PreStartContainer.
type service struct {
	v1beta1.UnimplementedDevicePluginServer

	*endpoint
	stopping chan struct{} // closed when the registration is to end
	watched  chan struct{} // told when the kubelet asks for the stream of devices
	ended    chan struct{} // told when it ends the stream
}

func newService(e *endpoint) *service {
	return &service{endpoint: e, stopping: make(chan struct{}), watched: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
}

// tell tells that something has happened, unless it is told already.
func tell(news chan<- struct{}) {
	select {
	case news <- struct{}{}:
	default:
	}
}

// GetDevicePluginOptions says that no optional call is there.
func (s *service) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return &v1beta1.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices, and again when there are others.
func (s *service) ListAndWatch(_ *v1beta1.Empty, stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse]) error {
	tell(s.watched)
	for {
		offered, changed := s.current()
		if offered == nil {
			offered = new(supply) // the registration ends
		}
		err := send(stream, offered)
		if err != nil {
			s.log.Error("cannot tell the kubelet of the devices", "error", err)
		} else {
			s.log.Info("devices advertised", "devices", offered.devices)
			select {
			case <-s.stopping:
				return nil
			case <-changed:
				continue
			case <-stream.Context().Done():
			}
		}
		tell(s.ended)
		return err
	}
}

// send sends one list of devices.
func send(stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse], s *supply) error {
	response := &v1beta1.ListAndWatchResponse{Devices: s.list()}
	if size := proto.Size(response); size > maxMessage {
		return status.Errorf(codes.ResourceExhausted, "a list of %d devices has %d bytes, and the kubelet accepts %d: use a smaller --max-devices", s.devices, size, maxMessage)
	}
	err := stream.Send(response)
	// Nothing that comes later needs as much memory, for as long as the plugin
	// runs.
	response = nil
	debug.FreeOSMemory()
	return err
}

// Allocate gives each container the same. The kubelet starts no pod while it
// waits for the answer, so nothing here may block.
func (s *service) Allocate(ctx context.Context, request *v1beta1.AllocateRequest) (*v1beta1.AllocateResponse, error) {
	offered, _ := s.current()
	if offered == nil || offered.devices == 0 {
		return nil, status.Errorf(codes.Unavailable, "%s is not offered at the moment: the SGX device or the EPC is gone", s.resource)
	}
	response := new(v1beta1.AllocateResponse)
	taken := make([]bool, offered.devices)
	for _, container := range request.ContainerRequests {
		for _, id := range container.DevicesIds {
			i, ok := deviceIndex(id)
			if !ok || i >= offered.devices {
				return nil, status.Errorf(codes.NotFound, "device %q is not one of the %d devices of %s on this node", id, offered.devices, s.resource)
			}
			if taken[i] {
				return nil, status.Errorf(codes.InvalidArgument, "device %q of %s is asked for twice", id, s.resource)
			}
			taken[i] = true
		}
		s.log.DebugContext(ctx, "allocated to a container", "devices", len(container.DevicesIds))
		s.metrics.allocations.Inc()
		response.ContainerResponses = append(response.ContainerResponses, offered.grant)
	}
	return response, nil
}
