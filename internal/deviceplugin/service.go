package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// service answers the kubelet's calls during one registration. It does not implement
// GetPreferredAllocation, for which the kubelet would send the IDs of all free devices.
type service struct {
	v1beta1.UnimplementedDevicePluginServer

	*endpoint
	metrics  resourceMetrics
	waits    bool          // whether containers wait for quotes
	stopping chan struct{} // closed when the registration is to end
	watched  chan struct{} // receives once the kubelet requests the stream of devices
	ended    chan error    // receives why the stream ended
}

func newService(e *endpoint, m resourceMetrics, waits bool) *service {
	return &service{endpoint: e, metrics: m, waits: waits, stopping: make(chan struct{}), watched: make(chan struct{}, 1), ended: make(chan error, 1)}
}

// notify sends a value unless the channel is full.
func notify[T any](c chan<- T, value T) {
	select {
	case c <- value:
	default:
	}
}

// options are the optional calls that the kubelet makes.
func (s *service) options() *v1beta1.DevicePluginOptions {
	return &v1beta1.DevicePluginOptions{PreStartRequired: s.waits}
}

// GetDevicePluginOptions reports which optional calls are implemented.
func (s *service) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return s.options(), nil
}

// PreStartContainer returns when the container may start. The kubelet waits for it on
// behalf of this container's pod only.
func (s *service) PreStartContainer(ctx context.Context, _ *v1beta1.PreStartContainerRequest) (*v1beta1.PreStartContainerResponse, error) {
	if s.waits {
		if err := s.quotes.wait(ctx, s.stopping); err != nil {
			return nil, err
		}
	}
	return &v1beta1.PreStartContainerResponse{}, nil
}

// ListAndWatch sends the devices, and sends them again when they change.
func (s *service) ListAndWatch(_ *v1beta1.Empty, stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse]) error {
	notify(s.watched, struct{}{})
	var sent *supply
	for {
		advertised, changed := s.current()
		if advertised == nil {
			advertised = new(supply) // the registration ends
		}
		if err := send(stream, advertised); err != nil {
			notify(s.ended, fmt.Errorf("send devices to the kubelet: %w", err))
			return err
		}
		level := slog.LevelInfo
		if advertised == sent { // sent again
			level = slog.LevelDebug
		}
		sent = advertised
		s.log.Log(stream.Context(), level, "devices advertised", "devices", advertised.devices)
		select {
		case <-s.stopping:
			return nil
		case <-changed:
		case <-stream.Context().Done():
			notify(s.ended, errors.New("the kubelet ended the stream of devices; if this repeats, another plugin advertises the same resource"))
			return nil
		}
	}
}

// send sends one list of devices.
func send(stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse], s *supply) error {
	response := &v1beta1.ListAndWatchResponse{Devices: s.list()}
	if size := proto.Size(response); size > maxMessage {
		return status.Errorf(codes.ResourceExhausted, "a list of %d devices has %d bytes, and the kubelet accepts %d: lower the maximum number of devices", s.devices, size, maxMessage)
	}
	err := stream.Send(response)
	debug.FreeOSMemory() // nothing later needs as much memory, for days
	return err
}

// Allocate gives each container the same. It must not block, since the kubelet starts
// no pod while it waits for the response.
func (s *service) Allocate(ctx context.Context, request *v1beta1.AllocateRequest) (*v1beta1.AllocateResponse, error) {
	advertised, _ := s.current()
	if advertised == nil || advertised.devices == 0 {
		return nil, status.Errorf(codes.Unavailable, "%s has no devices at the moment", s.resource)
	}
	response := new(v1beta1.AllocateResponse)
	requested := make([]bool, advertised.devices)
	for _, container := range request.ContainerRequests {
		for _, id := range container.DevicesIds {
			i, ok := deviceIndex(id)
			if !ok || i >= advertised.devices {
				return nil, status.Errorf(codes.NotFound, "device %q is not one of the %d devices of %s on this node", id, advertised.devices, s.resource)
			}
			if requested[i] {
				return nil, status.Errorf(codes.InvalidArgument, "device %q of %s is requested twice", id, s.resource)
			}
			requested[i] = true
		}
		s.log.DebugContext(ctx, "allocated to a container", "devices", len(container.DevicesIds))
		s.metrics.allocations.Inc()
		response.ContainerResponses = append(response.ContainerResponses, advertised.grant)
	}
	return response, nil
}
