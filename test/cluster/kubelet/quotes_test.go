//go:build kubelet

package kubelet

import (
	"context"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// TestWaitForQuotes checks that a container on a node that starts waits for the quote
// helper. Once the plugin has registered while the helper is there, containers start even
// if the plugin and the helper are gone.
func TestWaitForQuotes(t *testing.T) {
	const waits = "container waits for the quote helper"
	k := startKubelet(t)
	aesm := t.TempDir()
	p := startPlugin(t, simulate(64), "--aesm-dir="+aesm, "--wait-for-quotes=20s")
	p.await(msgRegistered)
	k.await(epc, all(64))

	admitted := make(chan error, 1)
	go func() {
		_, err := k.admit("early", 1, epc)
		admitted <- err
	}()
	p.await(waits)
	select {
	case err := <-admitted:
		t.Fatalf("the container did not wait: %v", err)
	default:
	}
	helper, err := net.Listen("unix", filepath.Join(aesm, "aesm.socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer helper.Close()
	select {
	case err := <-admitted:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the container does not start")
	}
	if _, err := k.admit("late", 1, epc); err != nil {
		t.Error(err)
	}

	p.mark()
	k.restart()
	p.await(msgRegistered)
	k.await(epc, all(64))
	helper.Close()
	if _, err := k.admit("without a helper", 1, epc); err != nil {
		t.Error(err)
	}
	if n := p.logged(waits); n != 1 {
		t.Errorf("%d containers waited, want 1", n)
	}
}

// TestHelperDoesNotWait checks that the quote helper's pod does not wait for itself.
func TestHelperDoesNotWait(t *testing.T) {
	const helper = "confcom.github.io/quote-helper"
	k := startKubelet(t)
	p := startPlugin(t, simulate(64), "--resources=epc,quote-helper", "--aesm-dir="+t.TempDir(), "--wait-for-quotes=20s")
	k.await(epc, all(64))
	k.await(helper, all(8))
	if _, err := k.admit("sgx-quote-helper-abcde", 1, helper); err != nil {
		t.Error(err)
	}
	if n := p.logged("container waits for the quote helper"); n != 0 {
		t.Errorf("the quote helper waited")
	}
	go func() { _, _ = k.admit("job", 1, epc) }() // ends with the plugin
	p.await("container waits for the quote helper")
}

// servePodResources serves what the kubelet has allocated to its pods until the test ends,
// and returns the socket.
func (k *kubelet) servePodResources() (socket string) {
	k.t.Helper()
	socket = filepath.Join(k.t.TempDir(), "kubelet.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		k.t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, podLister{kubelet: k})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	k.t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return socket
}

// podLister lists the devices of a kubelet's pods, as the kubelet does.
type podLister struct {
	podresources.UnimplementedPodResourcesListerServer
	kubelet *kubelet
}

func (l podLister) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	l.kubelet.manager.UpdateAllocatedDevices(klog.Background())
	response := new(podresources.ListPodResourcesResponse)
	for _, pod := range l.kubelet.activePods() {
		container := &podresources.ContainerResources{Name: pod.Spec.Containers[0].Name}
		for name, devices := range l.kubelet.manager.GetDevices(string(pod.UID), container.Name) {
			container.Devices = append(container.Devices, &podresources.ContainerDevices{ResourceName: name, DeviceIds: slices.Collect(maps.Keys(devices))})
		}
		response.PodResources = append(response.PodResources, &podresources.PodResources{
			Namespace: pod.Namespace, Name: pod.Name, Containers: []*podresources.ContainerResources{container},
		})
	}
	return response, nil
}
