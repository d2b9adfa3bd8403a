package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

const (
	// listTimeout bounds the wait for the kubelet.
	listTimeout = 5 * time.Second
	// maxPodResources is the longest accepted response in bytes: the IDs of all
	// devices of a node exceed gRPC's default.
	maxPodResources = 64 << 20
)

// allocatedCollector collects how much EPC the kubelet has allocated to each
// container as devices. Each scrape is a request to the kubelet.
type allocatedCollector struct {
	bytes  *prometheus.Desc
	source atomic.Pointer[allocationSource] // nil until collectFrom
}

// allocationSource is where and under which name allocations are found.
type allocationSource struct{ socket, resource string }

func newAllocatedCollector() *allocatedCollector {
	return &allocatedCollector{bytes: prometheus.NewDesc("sgx_epc_allocated_bytes",
		"EPC that the kubelet has allocated to a container as devices.", []string{"namespace", "pod", "container"}, nil)}
}

// collectFrom makes the kubelet behind the socket the source of the metric.
func (a *allocatedCollector) collectFrom(socket string, resource epc.ResourceName) {
	a.source.Store(&allocationSource{socket, string(resource)})
}

// Describe is part of prometheus.Collector.
func (a *allocatedCollector) Describe(out chan<- *prometheus.Desc) { out <- a.bytes }

// Collect is part of prometheus.Collector. It collects nothing if the kubelet's
// socket does not exist, because it is not mounted.
func (a *allocatedCollector) Collect(out chan<- prometheus.Metric) {
	source := a.source.Load()
	if source == nil {
		return
	}
	if _, err := os.Stat(source.socket); errors.Is(err, fs.ErrNotExist) {
		return
	}
	pods, err := listPodResources(context.Background(), source.socket) // Collect has no context
	if err != nil {
		out <- prometheus.NewInvalidMetric(a.bytes, err)
		return
	}
	for _, pod := range pods {
		for _, container := range pod.Containers {
			devices := 0
			for _, allocated := range container.Devices {
				if allocated.ResourceName == source.resource {
					devices += len(allocated.DeviceIds)
				}
			}
			if devices > 0 {
				out <- prometheus.MustNewConstMetric(a.bytes, prometheus.GaugeValue,
					float64(devices)*float64(node.MiB), pod.Namespace, pod.Name, container.Name)
			}
		}
	}
}

// listPodResources returns the resources that the kubelet has allocated to its pods.
func listPodResources(ctx context.Context, socket string) ([]*podresources.PodResources, error) {
	response, err := askPodResources(ctx, socket, func(ctx context.Context, client podresources.PodResourcesListerClient) (*podresources.ListPodResourcesResponse, error) {
		return client.List(ctx, &podresources.ListPodResourcesRequest{})
	})
	if err != nil {
		return nil, fmt.Errorf("list pod resources at %s: %w", socket, err)
	}
	return response.PodResources, nil
}

// askPodResources makes one call to the kubelet's socket for the resources of pods.
func askPodResources[T any](ctx context.Context, socket string, call func(context.Context, podresources.PodResourcesListerClient) (T, error)) (response T, err error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPodResources)))
	if err != nil {
		return response, fmt.Errorf("connect to kubelet: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return call(ctx, podresources.NewPodResourcesListerClient(conn))
}
