package deviceplugin

import (
	"context"
	"errors"
	"fmt"
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
	metrics  resourceMetrics
	stopping chan struct{} // closed when the registration is to end
	watched  chan struct{} // told when the kubelet asks for the stream of devices
	ended    chan error    // told why the stream has ended
}

func newService(e *endpoint, m resourceMetrics) *service {
	return &service{endpoint: e, metrics: m, stopping: make(chan struct{}), watched: make(chan struct{}, 1), ended: make(chan error, 1)}
}

// tell tells what has happened, unless something is told already.
func tell[T any](news chan<- T, what T) {
	select {
	case news <- what:
	default:
	}
}

// GetDevicePluginOptions says that no optional call is there.
func (s *service) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return &v1beta1.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices, and again when there are others.
func (s *service) ListAndWatch(_ *v1beta1.Empty, stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse]) error {
	tell(s.watched, struct{}{})
	for {
		offered, changed := s.current()
		if offered == nil {
			offered = new(supply) // the registration ends
		}
		if err := send(stream, offered); err != nil {
			tell(s.ended, fmt.Errorf("tell the kubelet of the devices: %w", err))
			return err
		}
		s.log.Info("devices advertised", "devices", offered.devices)
		select {
		case <-s.stopping:
			return nil
		case <-changed:
		case <-stream.Context().Done():
			tell(s.ended, errors.New("the kubelet has ended the stream of devices; if this happens again and again, another plugin offers the same resource"))
			return nil
		}
	}
}

// send sends one list of devices.
func send(stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse], s *supply) error {
	response := &v1beta1.ListAndWatchResponse{Devices: s.list()}
	if size := proto.Size(response); size > maxMessage {
		return status.Errorf(codes.ResourceExhausted, "a list of %d devices has %d bytes, and the kubelet accepts %d: use a smaller --max-devices", s.devices, size, maxMessage)
	}
	err := stream.Send(response)
	debug.FreeOSMemory() // nothing that comes later needs as much, for days
	return err
}

// Allocate gives each container the same. The kubelet starts no pod while it
// waits for the answer, so nothing here may block.
func (s *service) Allocate(ctx context.Context, request *v1beta1.AllocateRequest) (*v1beta1.AllocateResponse, error) {
	offered, _ := s.current()
	if offered == nil || offered.devices == 0 {
		return nil, status.Errorf(codes.Unavailable, "%s is not offered at the moment: there is no device of it", s.resource)
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
