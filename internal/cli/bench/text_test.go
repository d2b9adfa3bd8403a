package bench

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/loadgen"
)

func TestShowNothing(t *testing.T) {
	result := loadgen.Result{Cancelled: 16, LongestWait: 9876543 * time.Microsecond, Elapsed: 10 * time.Second}
	var out strings.Builder
	if err := show(&out, benchmark{request: requestQuote, clients: 16}, result); err != nil {
		t.Fatal(err)
	}
	want := `benchmark         quote, 16 clients, 10s
requests          0
failed            0
cancelled         16, longest wait 9.88s
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
	report, err := json.Marshal(newReport(benchmark{request: requestQuote, clients: 16}, result))
	if err != nil || !strings.Contains(string(report), `"failures":[],`) || !strings.Contains(string(report), `"latencySeconds":null,"latencyBuckets":[]`) {
		t.Errorf("%v: %s", err, report)
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	progress := showProgress(&out)
	progress(loadgen.Result{Requests: 1000, Elapsed: time.Second})
	progress(loadgen.Result{Requests: 3010, Failed: 10, Elapsed: 3 * time.Second})
	want := `   1s     1000.0/s  1000 requests, 0 failed
   3s     1000.0/s  3010 requests, 10 failed
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
}

func TestRounded(t *testing.T) {
	for time, want := range map[time.Duration]string{
		0:                       "0s",
		999:                     "999ns",
		1234:                    "1.23µs",
		99960 * time.Nanosecond: "100µs",
		1234567:                 "1.23ms",
		12345678901:             "12.3s",
	} {
		if got := rounded(time).String(); got != want {
			t.Errorf("%d: %s, want %s", time, got, want)
		}
	}
}
