package deviceplugin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// What is known of a kubelet by its record, by its answers, and by both.
func TestKubeletUsage(t *testing.T) {
	const enclave = "sgx.intel.com/enclave"
	dir := t.TempDir()
	socket := filepath.Join(dir, "kubelet.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name string, resources ...string) *podresources.PodResources {
		container := &podresources.ContainerResources{Name: "main"}
		for _, resource := range resources {
			container.Devices = append(container.Devices, &podresources.ContainerDevices{ResourceName: resource, DeviceIds: []string{"0"}})
		}
		return &podresources.PodResources{Namespace: "default", Name: name, Containers: []*podresources.ContainerResources{{Name: "other"}, container}}
	}
	epc := newPlugin().Policy.Resource
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, podLister{pods: []*podresources.PodResources{
		pod("node", enclave), pod("other", "example.com/other"), pod("devices", enclave, string(epc)), pod("none"),
	}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		<-served
	}()

	entry := func(pod, resource string) string {
		return `{"PodUID": "` + pod + `", "ContainerName": "main", "ResourceName": "` + resource + `", "DeviceIDs": {"-1": ["0"]}}`
	}
	text := func(entries ...string) string {
		return `{"Data": {"PodDeviceEntries": [` + strings.Join(entries, ",") + `], "RegisteredDevices": {"` + string(epc) + `": []}}}`
	}
	one := text(entry("1", enclave), entry("2", enclave), entry("2", string(epc)))
	two := text(entry("1", enclave), entry("2", enclave), entry("2", string(epc)), entry("3", string(epc)))
	devices, node := holders{1, []string{"default/devices"}}, holders{1, []string{"default/node"}}
	for _, test := range []struct {
		name, record, socket string
		forgotten            bool
		want                 usage
		err                  string
	}{
		{"no pods", text(), "", false, usage{registered: true}, ""},
		{"no record", "", "", false, usage{}, ""},
		{"both", one, socket, false, usage{registered: true, devicePods: devices, nodePods: node}, ""},
		{"a pod that has ended", two, socket, false, usage{registered: true, devicePods: holders{2, devices.names}, nodePods: node, stale: true}, ""},
		{"no answer", one, socket + "x", false, usage{registered: true, devicePods: holders{count: 1}, nodePods: holders{count: 1}, stale: true}, "find out which pods hold EPC"},
		{"no socket", one, "", false, usage{registered: true, devicePods: holders{count: 1}, nodePods: holders{count: 1}, stale: true}, "no socket for the resources of pods is configured"},
		{"unreadable record", "{}", socket, false, usage{registered: true, devicePods: devices, nodePods: node}, "another format"},
		{"unreadable record, later", "{}", socket, true, usage{devicePods: devices, nodePods: node}, "another format"},
		{"nothing", "{}", socket + "x", true, usage{}, errNoUsage.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlugin(func(p *Plugin) { p.DevicePluginDir, p.PodResourcesSocket = t.TempDir(), test.socket })
			if test.record != "" {
				if err := os.WriteFile(filepath.Join(p.DevicePluginDir, recordFile), []byte(test.record), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := p.kubeletUsage(t.Context(), test.forgotten)
			if info, err := os.Stat(filepath.Join(p.DevicePluginDir, recordFile)); err == nil && test.record != "{}" {
				test.want.written = info.ModTime()
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(usage{}, holders{})); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if errors.Is(err, errNoUsage) != (test.name == "nothing") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// podLister is the part of a kubelet that lists the resources of pods.
type podLister struct {
	podresources.UnimplementedPodResourcesListerServer
	pods []*podresources.PodResources
}

func (p podLister) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	return &podresources.ListPodResourcesResponse{PodResources: p.pods}, nil
}
