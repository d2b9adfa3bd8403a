package deviceplugin

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// serviceOf answers for a resource of which there is the given supply.
func serviceOf(offered *supply) *service {
	env, _ := environment()
	m := newMetrics(env.Metrics)
	e := newEndpoint("example.com/epc", directory{}, env, m)
	if offered != nil {
		e.offer(true, *offered)
	}
	return newService(e, m.of(e.resource))
}

func TestAllocate(t *testing.T) {
	grant := &v1beta1.ContainerAllocateResponse{Mounts: []*v1beta1.Mount{{HostPath: "/host"}}}
	full := &supply{devices: 64, grant: grant}
	tests := []struct {
		name       string
		offered    *supply
		containers [][]string
		code       codes.Code
		message    string
	}{
		{name: "one container", offered: full, containers: [][]string{{"0", "1"}}},
		{name: "the last device", offered: full, containers: [][]string{{"_"}}},
		{name: "several containers", offered: full, containers: [][]string{{"0"}, {}, {"1"}}},
		{name: "no container", offered: full},
		{
			name: "a device beyond the last", offered: full, containers: [][]string{{"0"}, {"_", "00"}},
			code: codes.NotFound, message: `device "00" is not one of the 64 devices of example.com/epc on this node`,
		},
		{
			name: "no device of ours", offered: full, containers: [][]string{{"sgx-epc-1"}},
			code: codes.NotFound, message: `device "sgx-epc-1" is not one of`,
		},
		{
			name: "a device twice", offered: full, containers: [][]string{{"1", "0", "1"}},
			code: codes.InvalidArgument, message: `device "1" of example.com/epc is asked for twice`,
		},
		{
			name: "a device for two containers", offered: full, containers: [][]string{{"1"}, {"1"}},
			code: codes.InvalidArgument, message: `device "1" of example.com/epc is asked for twice`,
		},
		{
			name: "withdrawn", offered: &supply{}, containers: [][]string{{"0"}},
			code: codes.Unavailable, message: "example.com/epc is not offered at the moment",
		},
		{
			name: "never offered", containers: [][]string{{"0"}},
			code: codes.Unavailable, message: "is not offered at the moment",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request := new(v1beta1.AllocateRequest)
			for _, ids := range test.containers {
				request.ContainerRequests = append(request.ContainerRequests, &v1beta1.ContainerAllocateRequest{DevicesIds: ids})
			}
			response, err := serviceOf(test.offered).Allocate(t.Context(), request)
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

// A list that the kubelet would not accept is not sent: it drops a plugin that
// tries.
func TestSendTooMany(t *testing.T) {
	err := send(nil, &supply{devices: 300000})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "a list of 300000 devices has 4829472 bytes") || !strings.Contains(err.Error(), "--max-devices") {
		t.Error(err)
	}
}

// A change is told, what is the same again is not.
func TestOffer(t *testing.T) {
	e := serviceOf(nil).endpoint
	grant := func() *v1beta1.ContainerAllocateResponse {
		return &v1beta1.ContainerAllocateResponse{Mounts: []*v1beta1.Mount{{HostPath: "/host"}}}
	}
	steps := []struct {
		name    string
		step    func()
		changes bool
		devices int // -1 for not offered
	}{
		{"withdraw what was never offered", e.withdraw, false, -1},
		{"still not offered", func() { e.offer(false, supply{devices: 8}) }, false, -1},
		{"offer", func() { e.offer(true, supply{devices: 8, grant: grant()}) }, true, 8},
		{"the same again, after it was sent", func() {
			offered, _ := e.current()
			if _, err := proto.Marshal(offered.grant); err != nil {
				t.Fatal(err)
			}
			e.offer(true, supply{devices: 8, grant: grant()})
		}, false, 8},
		{"the same again", func() { e.offer(true, supply{devices: 8, grant: grant()}) }, false, 8},
		{"fewer", func() { e.offer(true, supply{devices: 4, grant: grant()}) }, true, 4},
		{"other NUMA nodes", func() { e.offer(true, supply{devices: 4, numa: []int{0, 0, 1, 1}, grant: grant()}) }, true, 4},
		{"withdraw", e.withdraw, true, 0},
		{"withdraw again", e.withdraw, false, 0},
		{"back", func() { e.offer(true, supply{devices: 4, grant: grant()}) }, true, 4},
		{"another's to offer", func() { e.offer(false, supply{}) }, true, -1},
	}
	for _, step := range steps {
		_, changed := e.current()
		step.step()
		told := false
		select {
		case <-changed:
			told = true
		default:
		}
		offered, _ := e.current()
		devices := -1
		if offered != nil {
			devices = offered.devices
		}
		if told != step.changes || devices != step.devices {
			t.Errorf("%s: told %t, %d devices", step.name, told, devices)
		}
	}
}
