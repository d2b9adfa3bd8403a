package alerts

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// series are those of kube-state-metrics 2.18 for a pod that runs, one that has ended, one that
// no node has room for and one that is starting.
const series = `
  - {series: 'kube_pod_container_resource_limits{namespace="ns", pod="runs", uid="1", container="a", node="n", resource="kubernetes_azure_com_sgx_epc_mem_in_MiB", unit="integer"}', values: '2x9'}
  - {series: 'kube_pod_container_resource_limits{namespace="ns", pod="runs", uid="1", container="b", node="n", resource="kubernetes_azure_com_sgx_epc_mem_in_MiB", unit="integer"}', values: '3x9'}
  - {series: 'kube_pod_container_resource_limits{namespace="ns", pod="runs", uid="1", container="b", node="n", resource="cpu", unit="core"}', values: '8x9'}
  - {series: 'kube_pod_container_resource_limits{namespace="ns", pod="ended", uid="2", container="a", node="n", resource="kubernetes_azure_com_sgx_epc_mem_in_MiB", unit="integer"}', values: '5x9'}
  - {series: 'kube_pod_container_resource_limits{namespace="ns", pod="waits", uid="3", container="a", node="", resource="kubernetes_azure_com_sgx_epc_mem_in_MiB", unit="integer"}', values: '7x9'}
  - {series: 'kube_pod_container_resource_limits{namespace="ns", pod="starts", uid="4", container="a", node="n", resource="kubernetes_azure_com_sgx_epc_mem_in_MiB", unit="integer"}', values: '9x9'}
  - {series: 'kube_pod_status_phase{namespace="ns", pod="runs", uid="1", phase="Running"}', values: '1x9'}
  - {series: 'kube_pod_status_phase{namespace="ns", pod="runs", uid="1", phase="Pending"}', values: '0x9'}
  - {series: 'kube_pod_status_phase{namespace="ns", pod="ended", uid="2", phase="Running"}', values: '0x9'}
  - {series: 'kube_pod_status_phase{namespace="ns", pod="ended", uid="2", phase="Succeeded"}', values: '1x9'}
  - {series: 'kube_pod_status_phase{namespace="ns", pod="waits", uid="3", phase="Pending"}', values: '1x9'}
  - {series: 'kube_pod_status_phase{namespace="ns", pod="starts", uid="4", phase="Pending"}', values: '1x9'}
`

// The dashboard shows the EPC of the pods that have some, by the metrics of kube-state-metrics.
func TestEPCByPod(t *testing.T) {
	text, err := os.ReadFile("../../charts/confcom/dashboards/confcom.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var query string
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			if strings.Contains(target.Expr, "kube_pod_container_resource_limits") {
				query = target.Expr
			}
		}
	}
	if query == "" {
		t.Fatal("no panel uses the metrics of kube-state-metrics")
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NOT RUN: no promtool (Debian's package prometheus has it)")
	}
	query = strings.NewReplacer("$epc", "kubernetes_azure_com_sgx_epc_mem_in_MiB", "$node", ".*").Replace(query)
	file := filepath.Join(t.TempDir(), "test.yaml")
	test := fmt.Sprintf(`tests:
- interval: 1m
  input_series:%s
  promql_expr_test:
  - expr: '%s'
    eval_time: 5m
    exp_samples:
    - {labels: '{namespace="ns", pod="runs"}', value: 5242880}
    - {labels: '{namespace="ns", pod="starts"}', value: 9437184}
`, strings.TrimSuffix(series, "\n"), query)
	if err := os.WriteFile(file, []byte(test), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s\n%s", err, out, test)
	}
}
