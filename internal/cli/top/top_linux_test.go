package top_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/internal/cli/top"
	"github.com/confcom/confcom/internal/epc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const nodes = `{"items": [
 {"metadata": {"name": "b"}, "status": {"capacity": {"cpu": "8", "kubernetes.azure.com/sgx_epc_mem_in_MiB": "64Ki"}, "allocatable": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "64Ki"},
  "conditions": [{"type": "Ready", "status": "True"}, {"type": "SGXEPCAvailable", "status": "True", "reason": "NodeStatus"}, {"type": "SGXQuotesAvailable", "status": "False", "reason": "NetworkError", "message": "no network"}]}},
 {"metadata": {"name": "a"}, "status": {"capacity": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "64"}, "allocatable": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "60"}}},
 {"metadata": {"name": "without"}, "status": {"capacity": {"cpu": "8"}}}
]}`

const pods = `{"items": [
 {"metadata": {"name": "helper-a", "namespace": "confcom-system", "uid": "h", "labels": {"app.kubernetes.io/part-of": "confcom", "app.kubernetes.io/name": "sgx-quote-helper"}}, "spec": {"nodeName": "a", "containers": [{}]}, "status": {"phase": "Running"}},
 {"metadata": {"name": "plugin-a", "namespace": "confcom-system", "uid": "q", "labels": {"app.kubernetes.io/part-of": "confcom", "app.kubernetes.io/name": "sgx-device-plugin"}}, "spec": {"nodeName": "a", "containers": [{}]}, "status": {"phase": "Running"}},
 {"metadata": {"name": "plugin-b", "namespace": "confcom-system", "uid": "p", "labels": {"app.kubernetes.io/part-of": "confcom", "app.kubernetes.io/name": "sgx-device-plugin"}}, "spec": {"nodeName": "b", "containers": [{}]}, "status": {"phase": "Running"}},
 {"metadata": {"name": "job", "namespace": "default", "uid": "u1"}, "spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "10"}}}, {}],
  "initContainers": [{"resources": {"requests": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "30"}}}, {"restartPolicy": "Always", "resources": {"requests": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "25"}}}]}, "status": {"phase": "Running"}},
 {"metadata": {"name": "no-epc", "namespace": "default", "uid": "u2"}, "spec": {"nodeName": "a", "containers": [{}]}, "status": {"phase": "Running"}},
 {"metadata": {"name": "pending", "namespace": "default", "uid": "u3"}, "spec": {"containers": [{"resources": {"requests": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "1k"}}}]}, "status": {"phase": "Pending"}},
 {"metadata": {"name": "other", "namespace": "default", "uid": "u4"}, "spec": {"nodeName": "a", "containers": [{}]}, "status": {"phase": "Running"}}
]}`

// pluginMetrics are those of the device plugin on node a. Its quote helper has enclaves as well,
// as has a pod that requests no EPC.
const pluginMetrics = `# TYPE confcom_build_info gauge
confcom_build_info{daemon="sgx-device-plugin",version="1"} 1
# TYPE sgx_enclave_memory_mapped_bytes gauge
sgx_enclave_memory_mapped_bytes 1.048576e+08
# TYPE sgx_enclave_memory_pod_mapped_bytes gauge
sgx_enclave_memory_pod_mapped_bytes{uid="u1"} 5.0331648e+07
sgx_enclave_memory_pod_mapped_bytes{uid="u4"} 1.572864e+06
sgx_enclave_memory_pod_mapped_bytes{uid="h"} 2.097152e+07
`

// helperMetrics are those of the quote helper on node a after some polls.
func helperMetrics(poll int) string {
	return fmt.Sprintf(`# TYPE confcom_build_info gauge
confcom_build_info{daemon="sgx-quote-helper",version="1"} 1
# TYPE confcom_condition_met gauge
confcom_condition_met{condition="quotes"} 1
# TYPE sgx_quote_helper_requests_total counter
sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteEx"} %d
sgx_quote_helper_requests_total{code="SUCCESS",request="InitQuoteEx"} %d
sgx_quote_helper_requests_total{code="BUSY",request="GetQuoteEx"} %d
# TYPE sgx_quote_helper_failures_total counter
sgx_quote_helper_failures_total{layer="queue"} %d
sgx_quote_helper_failures_total{layer="client"} 7
# TYPE sgx_quote_helper_requests_waiting gauge
sgx_quote_helper_requests_waiting 3
# TYPE sgx_quote_helper_requests_in_flight gauge
sgx_quote_helper_requests_in_flight 2
# TYPE sgx_quote_helper_platform_slots gauge
sgx_quote_helper_platform_slots 4
# TYPE sgx_quote_helper_pod_quotes_total counter
sgx_quote_helper_pod_quotes_total{uid="u1"} %d
sgx_quote_helper_pod_quotes_total{uid="u2"} 9
sgx_quote_helper_pod_quotes_total{uid="h"} 0
# TYPE sgx_quote_helper_pod_errors_total counter
sgx_quote_helper_pod_errors_total{uid="u1"} 0
sgx_quote_helper_pod_errors_total{uid="u2"} %d
`, 1000*poll, 9999*poll, 50*poll, 50*poll, 1000*poll, 50*poll)
}

// newKubectl returns the path of a kubectl whose port-forwards lead to a server of the test,
// as does the API server's proxy if proxy is set.
func newKubectl(t *testing.T, proxy, forward bool) string {
	t.Helper()
	var polls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, helperMetrics(int(polls.Add(1))))
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for name, content := range map[string]string{"nodes": nodes, "pods": pods, "plugin": pluginMetrics} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= 2; i++ {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("metrics", i)), []byte(helperMetrics(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := `#!/bin/sh
cd ` + dir + `
case "$*" in
*"get nodes --output=json"*) cat nodes ;;
*"get pods --output=json --all-namespaces "*) cat pods ;;
*"get --raw /api/v1/namespaces/confcom-system/pods/helper-a/proxy/metrics"*)
	` + map[bool]string{true: `if mkdir polled 2>/dev/null; then cat metrics1; else cat metrics2; fi`, false: `echo "dial tcp: i/o timeout" >&2; exit 1`}[proxy] + ` ;;
*"get --raw /api/v1/namespaces/confcom-system/pods/plugin-a/proxy/metrics"*)
	` + map[bool]string{true: "cat plugin", false: `echo "dial tcp: i/o timeout" >&2; exit 1`}[proxy] + ` ;;
*"port-forward --address=127.0.0.1 pod/helper-a :http"*)
	` + map[bool]string{true: `echo "Forwarding from ` + strings.TrimPrefix(server.URL, "http://") + ` -> 9100"; exec sleep 600`, false: `echo "pods is forbidden" >&2; exit 1`}[forward] + ` ;;
*) echo "error: unexpected: $*" >&2; exit 1 ;;
esac
`
	path := filepath.Join(dir, "kubectl")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnce(t *testing.T) {
	for _, tt := range []struct {
		name           string
		proxy, forward bool
		known          bool // whether the metrics of the quote helper are
		plugin         bool // whether those of the device plugin are
		note           string
	}{
		{"through the API server", true, false, true, true, ""},
		{"through a port-forward", false, true, true, false, ""},
		{"neither", false, false, false, false, "no metrics of helper-a on node a: kubectl get: dial tcp: i/o timeout; kubectl port-forward: pods is forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := clitest.MustRun(t, "top", "--once", "--interval=1s", "-o", "json", "--kubectl="+newKubectl(t, tt.proxy, tt.forward))
			var got struct {
				Nodes []struct {
					Name                         string
					AllocatableMiB, RequestedMiB int64
					EPC                          string
					Quotes                       struct {
						Available *bool
						Reason    string
					}
					MappedMiB                                                 *float64
					QuotesPerSecond, Waiting, InService, Concurrency, Workers *float64
					ErrorsPerSecond                                           map[string]float64
				}
				Pods []struct {
					Name, Node, Phase                string
					RequestedMiB                     int64
					MappedMiB                        *float64
					QuotesPerSecond, ErrorsPerSecond *float64
				}
				Notes []string
			}
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if len(got.Nodes) != 2 || got.Nodes[0].Name != "a" || got.Nodes[1].Name != "b" {
				t.Fatalf("nodes: %s", out)
			}
			a, b := got.Nodes[0], got.Nodes[1]
			if a.AllocatableMiB != 60 || a.RequestedMiB != 35 || b.AllocatableMiB != 65536 || b.RequestedMiB != 0 || b.EPC != "NodeStatus" {
				t.Errorf("EPC: %s", out)
			}
			if b.Quotes.Available == nil || *b.Quotes.Available || b.Quotes.Reason != "NetworkError" || b.QuotesPerSecond != nil || b.ErrorsPerSecond != nil {
				t.Errorf("node b has no quote helper: %s", out)
			}
			notes := strings.Join(got.Notes, "\n")
			if !strings.Contains(notes, tt.note) || !strings.Contains(notes, "no metrics of plugin-b on node b: ") || strings.Contains(notes, "helper-a") == tt.known {
				t.Errorf("notes: %q", notes)
			}
			if !tt.known {
				if a.QuotesPerSecond != nil || a.Waiting != nil || a.Quotes.Available != nil || len(got.Pods) != 2 || got.Pods[1].QuotesPerSecond != nil {
					t.Errorf("known without metrics: %s", out)
				}
				return
			}
			// The rate is that of 1000 quotes in a little more than a second.
			if r := a.QuotesPerSecond; r == nil || *r < 50 || *r > 1000 {
				t.Errorf("quotes per second: %s", out)
			}
			if r := a.ErrorsPerSecond; r["queue"] <= 0 || r["queue"] > 50 || r["client"] != 0 {
				t.Errorf("errors per second: %v", r)
			}
			if a.Quotes.Available == nil || !*a.Quotes.Available || *a.Waiting != 3 || *a.InService != 2 || *a.Concurrency != 4 || a.Workers != nil {
				t.Errorf("node a: %s", out)
			}
			var names []string
			for _, p := range got.Pods {
				names = append(names, p.Name)
			}
			want := "[job no-epc pending]" // the busiest first
			if tt.plugin {
				want = "[job no-epc pending other]"
			}
			if fmt.Sprint(names) != want {
				t.Fatalf("pods %v", names)
			}
			job, noEPC, pending := got.Pods[0], got.Pods[1], got.Pods[2]
			if job.RequestedMiB != 35 || *job.QuotesPerSecond < 50 || *job.ErrorsPerSecond != 0 ||
				*noEPC.QuotesPerSecond != 0 || *noEPC.ErrorsPerSecond <= 0 || pending.RequestedMiB != 1000 || pending.QuotesPerSecond != nil {
				t.Errorf("pods: %s", out)
			}
			switch {
			case b.MappedMiB != nil || pending.MappedMiB != nil:
				t.Errorf("mapped memory is known without a device plugin: %s", out)
			case !tt.plugin && (a.MappedMiB != nil || job.MappedMiB != nil):
				t.Errorf("mapped memory is known without metrics: %s", out)
			case tt.plugin && (*a.MappedMiB != 100 || *job.MappedMiB != 48 || *noEPC.MappedMiB != 0 || *got.Pods[3].MappedMiB != 1.5):
				t.Errorf("mapped memory: %s", out)
			}
		})
	}
}

func TestText(t *testing.T) {
	out := clitest.MustRun(t, "top", "--once", "--interval=1s", "--kubectl="+newKubectl(t, true, false))
	for _, want := range []string{"nodes 2  EPC 35 requested of 65596 MiB  quotes ", "\nNODE  EPC MiB  REQUESTED  MAPPED  MODE ", "\na     60       35         100     -           yes           ", "  2/4   -\n",
		"\nb     65536    0          -       NodeStatus  NetworkError  -      -", "\ndefault/job      a     35       48      ", "\ndefault/pending  -     1000     -       -      -         Pending\n", "\ndefault/other    a     0        1.5     ", "\n- no metrics of plugin-b"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestDefaultResource(t *testing.T) {
	if got := top.New().Flag("epc-resource").DefValue; got != string(epc.DefaultResource) {
		t.Errorf("%s, want %s", got, epc.DefaultResource)
	}
}

func TestFails(t *testing.T) {
	refused := filepath.Join(t.TempDir(), "kubectl") // with its log, as kubectl has it
	if err := os.WriteFile(refused, []byte("#!/bin/sh\necho 'E1126 12:00:00 memcache.go:265] \"Unhandled Error\"' >&2; echo 'error: no server' >&2; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"no kubectl", []string{"--kubectl=/nonexistent/kubectl"}, 1, "install it, or pass --kubectl"},
		{"no cluster", []string{"--kubectl=/bin/false"}, 1, "kubectl get: exit status 1"},
		{"no server", []string{"--kubectl=" + refused}, 1, "kubectl get: no server\n"},
		{"no JSON", []string{"--kubectl=/bin/true"}, 1, "kubectl get nodes: "},
		{"no kubeconfig", []string{"--kubeconfig=/nonexistent"}, 2, "--kubeconfig: "},
		{"too often", []string{"--interval=10ms"}, 2, "--interval=10ms: less than 1s"},
	} {
		exit, _, stderr := clitest.Run(t, nil, append([]string{"top", "--once"}, tt.args...)...)
		if exit != tt.exit || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit %d, %s; want %d with %q", tt.name, exit, stderr, tt.exit, tt.want)
		}
	}
}
