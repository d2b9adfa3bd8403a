package quoting

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/sgx"
)

func TestPodCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		o := silent(NewMetrics(registry))
		end := func(pod string, code aesm.Code, report bool, drop aesm.Drop) {
			e := aesm.Exchange{Kind: aesm.KindGetQuoteEx, Peer: peer.Peer{Pod: pod, User: 1}, Code: code, Drop: drop}
			if code != aesm.CodeSuccess {
				e.Err = code
			}
			if report {
				e.Report = new(sgx.Report)
			}
			o.Connected()
			o.Ended(t.Context(), e)
		}
		expect := func(when, want string) {
			t.Helper()
			var metrics []string
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if !strings.HasPrefix(f.GetName(), "sgx_quote_helper_pod_") {
					continue
				}
				for _, m := range f.GetMetric() {
					metrics = append(metrics, fmt.Sprintf("%s %s %v", strings.TrimPrefix(f.GetName(), "sgx_quote_helper_pod_"), m.GetLabel()[0].GetValue(), m.GetCounter().GetValue()))
				}
			}
			if got := strings.Join(metrics, ", "); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		expect("at first", "")
		end("a", aesm.CodeSuccess, true, aesm.NotDropped)
		end("a", aesm.CodeSuccess, true, aesm.NotDropped)
		end("a", aesm.CodeBusy, true, aesm.NotDropped)
		end("b", aesm.CodeSuccess, false, aesm.NotDropped) // such as InitQuoteEx
		end("c", 0, false, aesm.DropProbe)
		end("", aesm.CodeSuccess, true, aesm.NotDropped)
		expect("after some", "errors_total a 1, errors_total b 0, quotes_total a 2, quotes_total b 0")
		time.Sleep(podIdle - time.Second)
		end("b", aesm.CodeSuccess, true, aesm.NotDropped)
		time.Sleep(time.Second)
		expect("pod a is idle", "errors_total b 0, quotes_total b 1")

		// Many pods, such as those of a job that is started again and again.
		for i := range 2 * maxCountedPods {
			time.Sleep(time.Millisecond)
			end(fmt.Sprint("p", i), aesm.CodeSuccess, true, aesm.NotDropped)
			if i%100 == 0 {
				end("b", aesm.CodeSuccess, true, aesm.NotDropped)
			}
		}
		n, err := testutil.GatherAndCount(registry, "sgx_quote_helper_pod_quotes_total", "sgx_quote_helper_pod_errors_total")
		if err != nil || n != 2*maxCountedPods {
			t.Errorf("%d series, %v, want %d", n, err, 2*maxCountedPods)
		}
		families, _ := registry.Gather()
		kept := false
		for _, f := range families {
			for _, m := range f.GetMetric() {
				kept = kept || f.GetName() == "sgx_quote_helper_pod_quotes_total" && m.GetLabel()[0].GetValue() == "b" && m.GetCounter().GetValue() == 7
			}
		}
		if !kept {
			t.Error("a pod that goes on has lost its count")
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}
