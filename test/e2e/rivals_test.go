package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const pluginDir = "/var/lib/kubelet/device-plugins"

// otherPlugin is a device plugin of somebody else, with device IDs like those of Intel's.
type otherPlugin struct {
	v1beta1.UnimplementedDevicePluginServer
	stop chan struct{}
}

func (p otherPlugin) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return new(v1beta1.DevicePluginOptions), nil
}

func (p otherPlugin) ListAndWatch(_ *v1beta1.Empty, stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse]) error {
	response := new(v1beta1.ListAndWatchResponse)
	for i := range 110 {
		response.Devices = append(response.Devices, &v1beta1.Device{ID: fmt.Sprintf("sgx-enclave-%d", i), Health: v1beta1.Healthy})
	}
	if err := stream.Send(response); err != nil {
		return err
	}
	<-p.stop
	return nil
}

// startOtherPlugin registers another plugin for a resource until stop.
func startOtherPlugin(t *testing.T, resource string) (stop func()) {
	t.Helper()
	const name = "sgx.intel.com-enclave.sock"
	socket := filepath.Join(pluginDir, name)
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	plugin := otherPlugin{stop: make(chan struct{})}
	server := grpc.NewServer()
	v1beta1.RegisterDevicePluginServer(server, plugin)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	stop = func() {
		close(plugin.stop)
		server.GracefulStop()
		<-served
	}
	conn, err := grpc.NewClient("unix://"+filepath.Join(pluginDir, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := v1beta1.NewRegistrationClient(conn).Register(t.Context(), &v1beta1.RegisterRequest{Version: v1beta1.Version, Endpoint: name, ResourceName: resource}); err != nil {
		t.Fatal(err)
	}
	return stop
}

// TestOtherPlugin runs another plugin for the enclave resource, such as Intel's, beside
// confcom's. The kubelet takes either's devices; confcom's plugin says so.
func TestOtherPlugin(t *testing.T) {
	waitAllocatable(t, enclave, slots)
	stop := startOtherPlugin(t, enclave)
	waitAllocatable(t, enclave, "110")
	began := time.Now()
	if _, err := try(t, "", "kubectl", "-n", namespace, "wait", "pods", "-l", "app.kubernetes.io/name=sgx-device-plugin", "--for=condition=Ready=false", "--timeout=100s"); err != nil {
		t.Error(err)
	}
	t.Logf("not ready after %s", time.Since(began).Round(time.Second))
	log := kubectl(t, "-n", namespace, "logs", "-l", "app.kubernetes.io/name=sgx-device-plugin", "--tail=-1")
	for _, want := range []string{"another plugin advertises the same resource", "sgx-enclave-", "sgx.intel.com-enclave.sock"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	checkDiagnosis(t, broken{}, "helm test", "another plugin advertises "+enclave+" as well")
	if _, err := try(t, "", "helm", "-n", namespace, "upgrade", "confcom", "charts/confcom", "--reuse-values", "--wait", "--timeout", "10s"); err == nil {
		t.Error("helm upgrade --wait succeeds beside another plugin")
	}

	stop()
	waitAllocatable(t, enclave, slots)
	waitRollout(t, "sgx-device-plugin")
	newPod(t, "default", "after-rival", limits{resource: "1", enclave: "1"}).waitReady(t)
}

// TestOtherDaemon runs another AESM daemon at the helper's socket. The helper names it and
// is not ready, and takes the socket back when that daemon has gone.
func TestOtherDaemon(t *testing.T) {
	program := filepath.Join(t.TempDir(), "aesm_service") // as Intel's daemon is called
	data, err := os.ReadFile(filepath.Join(root, "bin/sgx-quote-helper"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o700); err != nil {
		t.Fatal(err)
	}
	stop := startDaemon(t, program, "--platform=simulated", "--socket="+aesmDir+"/aesm.socket", "--takeover", "--http-address=127.0.0.1:0")
	eventually(t, "the helper names the other daemon", func() bool {
		log := kubectl(t, "-n", namespace, "logs", "-l", "app.kubernetes.io/name="+helper, "--tail=-1")
		return strings.Contains(log, `"level":"WARN","msg":"another daemon has taken over the socket"`) && strings.Contains(log, `"program":"aesm_service"`)
	})
	kubectl(t, "-n", namespace, "wait", "pods", "-l", "app.kubernetes.io/name="+helper, "--for=condition=Ready=false", "--timeout=60s")
	checkDiagnosis(t, broken{}, "helm test", "another daemon serves it: aesm_service")
	stop()
	waitRollout(t, helper)
	quotingPod(t, "after-aesmd")
}
