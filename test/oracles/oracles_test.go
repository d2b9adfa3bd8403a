package oracles_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/test/oracles"
)

// TestSimulatedQuote: others accept a simulated platform's quote with its
// collateral and root, and refuse it otherwise.
func TestSimulatedQuote(t *testing.T) {
	platform, err := simulated.New("node-1")
	if err != nil {
		t.Fatal(err)
	}
	initialized, err := platform.InitQuote(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{MREnclave: sgx.Measurement{1}}, initialized.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := platform.Quote(context.Background(), report, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	collateral := collateralJSON(t, now)

	for _, c := range []struct {
		name   string
		change func(*quote.Quote)
		root   []byte
		at     time.Time
		status string
		refuse string
	}{
		{name: "root given on purpose", root: simulation.RootPEM(), at: now, status: "UpToDate"},
		{name: "Intel's root", at: now, refuse: "Failed to verify certificate chain"},
		{name: "changed quote", root: simulation.RootPEM(), at: now, change: func(q *quote.Quote) { q.Enclave.ISVSVN++ }, refuse: "signature"},
		{name: "collateral too old", root: simulation.RootPEM(), at: now.AddDate(0, 2, 0), refuse: "expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := quote.Parse(quoted.Quote)
			if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(q)
			}
			data, err := q.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			verdict := oracles.DCAPQVL(t, data, collateral, c.root, c.at)
			if verdict.Status != c.status || (verdict.Error != "") != (c.refuse != "") || !strings.Contains(verdict.Error, c.refuse) {
				t.Errorf("verdict %+v; want status %q, error %q", verdict, c.status, c.refuse)
			}
		})
	}
}

func collateralJSON(t *testing.T, now time.Time) []byte {
	t.Helper()
	collateral, err := simulated.NewCollateral(now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(collateral)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
