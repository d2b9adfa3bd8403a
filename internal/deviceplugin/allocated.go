package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

const (
	// listTimeout bounds the wait for the kubelet at each scrape.
	listTimeout = 5 * time.Second
	// maxPodResources is the longest answer in bytes: the IDs of all devices of
	// a node are longer than what gRPC accepts by itself.
	maxPodResources = 64 << 20
)

// allocated tells how much EPC each container has been given as devices. It asks
// the kubelet whenever it is asked itself.
type allocated struct {
	socket   string
	resource string
	bytes    *prometheus.Desc
}

// collectAllocated adds the metric about what containers have been given.
func (m *metrics) collectAllocated(socket string, resource epc.ResourceName) {
	m.registry.MustRegister(&allocated{
		socket:   socket,
		resource: string(resource),
		bytes: prometheus.NewDesc("sgx_epc_allocated_bytes",
			"EPC that a container has been given as devices of the kubelet.", []string{"namespace", "pod", "container"}, nil),
	})
}

// Describe is part of prometheus.Collector.
func (a *allocated) Describe(out chan<- *prometheus.Desc) { out <- a.bytes }

// Collect is part of prometheus.Collector. Where the kubelet's socket is not
// mounted there is nothing to tell.
func (a *allocated) Collect(out chan<- prometheus.Metric) {
	if _, err := os.Stat(a.socket); errors.Is(err, fs.ErrNotExist) {
		return
	}
	pods, err := a.pods()
	if err != nil {
		out <- prometheus.NewInvalidMetric(a.bytes, err)
		return
	}
	for _, pod := range pods {
		for _, container := range pod.Containers {
			devices := 0
			for _, given := range container.Devices {
				if given.ResourceName == a.resource {
					devices += len(given.DeviceIds)
				}
			}
			if devices > 0 {
				out <- prometheus.MustNewConstMetric(a.bytes, prometheus.GaugeValue,
					float64(devices)*float64(node.MiB), pod.Namespace, pod.Name, container.Name)
			}
		}
	}
}

// pods asks the kubelet what its pods have been given.
func (a *allocated) pods() ([]*podresources.PodResources, error) {
	conn, err := grpc.NewClient("unix://"+a.socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPodResources)))
	if err != nil {
		return nil, fmt.Errorf("connect to the kubelet: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout) // Collect has no context
	defer cancel()
	response, err := podresources.NewPodResourcesListerClient(conn).List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet at %s for the resources of its pods: %w", a.socket, err)
	}
	return response.PodResources, nil
}
