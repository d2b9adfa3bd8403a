package deviceplugin

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// serviceOf returns a service for a resource with the given supply.
func serviceOf(advertised *supply) *service {
	env, _ := environment()
	m := NewMetrics(env.Metrics)
	e := newEndpoint("example.com/epc", directory{}, env, m)
	if advertised != nil {
		e.advertise(true, *advertised)
	}
	return newService(e, m.of(e.resource), false)
}

func TestAllocate(t *testing.T) {
	grant := &v1beta1.ContainerAllocateResponse{Mounts: []*v1beta1.Mount{{HostPath: "/host"}}}
	full := &supply{devices: 64, grant: grant}
	tests := []struct {
		name       string
		advertised *supply
		containers [][]string
		code       codes.Code
		message    string
	}{
		{name: "one container", advertised: full, containers: [][]string{{"0", "1"}}},
		{name: "the last device", advertised: full, containers: [][]string{{"_"}}},
		{name: "several containers", advertised: full, containers: [][]string{{"0"}, {}, {"1"}}},
		{name: "no container", advertised: full},
		{
			name: "a device beyond the last", advertised: full, containers: [][]string{{"0"}, {"_", "00"}},
			code: codes.NotFound, message: `device "00" is not one of the 64 devices of example.com/epc on this node`,
		},
		{
			name: "not an ID of this plugin", advertised: full, containers: [][]string{{"sgx-epc-1"}},
			code: codes.NotFound, message: `device "sgx-epc-1" is not one of`,
		},
		{
			name: "a device twice", advertised: full, containers: [][]string{{"1", "0", "1"}},
			code: codes.InvalidArgument, message: `device "1" of example.com/epc is requested twice`,
		},
		{
			name: "a device for two containers", advertised: full, containers: [][]string{{"1"}, {"1"}},
			code: codes.InvalidArgument, message: `device "1" of example.com/epc is requested twice`,
		},
		{
			name: "withdrawn", advertised: &supply{}, containers: [][]string{{"0"}},
			code: codes.Unavailable, message: "example.com/epc has no devices at the moment",
		},
		{
			name: "never advertised", containers: [][]string{{"0"}},
			code: codes.Unavailable, message: "has no devices at the moment",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request := new(v1beta1.AllocateRequest)
			for _, ids := range test.containers {
				request.ContainerRequests = append(request.ContainerRequests, &v1beta1.ContainerAllocateRequest{DevicesIds: ids})
			}
			response, err := serviceOf(test.advertised).Allocate(t.Context(), request)
			if status.Code(err) != test.code || !strings.Contains(status.Convert(err).Message(), test.message) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if len(response.ContainerResponses) != len(test.containers) {
				t.Errorf("%d containers", len(response.ContainerResponses))
			}
			for _, got := range response.ContainerResponses {
				if got != grant {
					t.Errorf("granted %v", got)
				}
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

// A list that the kubelet would not accept is not sent: the kubelet drops a plugin
// that sends one.
func TestSendTooMany(t *testing.T) {
	err := send(nil, &supply{devices: 300000})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "a list of 300000 devices has 4829472 bytes") || !strings.Contains(err.Error(), "lower the maximum number of devices") {
		t.Error(err)
	}
}

// A change is signalled, and advertising the same again is not.
func TestAdvertise(t *testing.T) {
	e := serviceOf(nil).endpoint
	grant := func() *v1beta1.ContainerAllocateResponse {
		return &v1beta1.ContainerAllocateResponse{Mounts: []*v1beta1.Mount{{HostPath: "/host"}}}
	}
	steps := []struct {
		name    string
		step    func()
		changes bool
		devices int // -1: not advertised
	}{
		{"withdraw what was never advertised", e.withdraw, false, -1},
		{"still not advertised", func() { e.advertise(false, supply{devices: 8}) }, false, -1},
		{"advertise", func() { e.advertise(true, supply{devices: 8, grant: grant()}) }, true, 8},
		{"the same again, after it was sent", func() {
			advertised, _ := e.current()
			if _, err := proto.Marshal(advertised.grant); err != nil {
				t.Fatal(err)
			}
			e.advertise(true, supply{devices: 8, grant: grant()})
		}, false, 8},
		{"the same again", func() { e.advertise(true, supply{devices: 8, grant: grant()}) }, false, 8},
		{"fewer", func() { e.advertise(true, supply{devices: 4, grant: grant()}) }, true, 4},
		{"other NUMA nodes", func() { e.advertise(true, supply{devices: 4, numa: []int{0, 0, 1, 1}, grant: grant()}) }, true, 4},
		{"withdraw", e.withdraw, true, 0},
		{"withdraw again", e.withdraw, false, 0},
		{"back", func() { e.advertise(true, supply{devices: 4, grant: grant()}) }, true, 4},
		{"give up", func() { e.advertise(false, supply{}) }, true, -1},
	}
	for _, step := range steps {
		_, changed := e.current()
		step.step()
		signalled := false
		select {
		case <-changed:
			signalled = true
		default:
		}
		advertised, _ := e.current()
		devices := -1
		if advertised != nil {
			devices = advertised.devices
		}
		if signalled != step.changes || devices != step.devices {
			t.Errorf("%s: signalled: %t, %d devices", step.name, signalled, devices)
		}
	}
}
