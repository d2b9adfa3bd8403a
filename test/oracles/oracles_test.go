package oracles_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/test/misissued"
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

// TestMisissued: on all that is wrong with a quote in itself or with its collateral,
// another verifier says the same as ours, but where it is known to be wrong or lax.
func TestMisissued(t *testing.T) {
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	// It has no policy but that of debug mode: a status is a result.
	policy := attest.Policy{Statuses: []attest.TCBStatus{attest.SWHardeningNeeded, attest.ConfigurationNeeded,
		attest.ConfigurationAndSWHardeningNeeded, attest.OutOfDate, attest.OutOfDateConfigurationNeeded}}
	for _, c := range misissued.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			at := c.At
			if at.IsZero() {
				at = misissued.Today()
			}
			q, collateral := c.Make()
			data, err := q.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(collateral)
			if err != nil {
				t.Fatal(err)
			}
			theirs := oracles.DCAPQVL(t, data, text, simulation.RootPEM(), at)
			result, err := attest.NewVerifier(root).Verify(q, collateral, policy, at)
			if result == nil {
				t.Fatal(err)
			}
			agree := (theirs.Error == "") == (err == nil) && (err != nil || theirs.Status == string(result.Status))
			why, known := disagreements()[c.Name]
			switch {
			case !agree && !known:
				t.Errorf("they: %+v; we: %s, %v", theirs, result.Status, err)
			case agree && known:
				t.Errorf("they agree by now (%s): %+v, %v", why, theirs, err)
			}
		})
	}
}

// disagreements are the cases in which the other verifier says something else, and
// why ours is right.
func disagreements() map[string]string {
	const (
		lists  = "it checks neither the signature nor the issuer nor the dates of revocation lists"
		levels = "it takes the first level of the list; Intel's library sorts them, and refuses two of the same"
		signer = "it asks of the signer of TCB info only that the root has certified him"
	)
	return map[string]string{
		"lists swapped":                        lists,
		"garbage for a list":                   lists,
		"a list with its signature damaged":    lists,
		"a list with something behind it":      lists,
		"a list of somebody of the same name":  lists,
		"a list of the changes only":           lists,
		"an expired list":                      lists,
		"an expired list of the root":          lists,
		"a list from the future":               lists,
		"accepted if expired, but the list is": lists,
		"a CA of the same name":                lists,
		"another PCK is revoked":               "it looks for the serial number of any certificate in any list, whoever has issued it",
		"levels in another order":              levels,
		"a level twice":                        levels,
		"signed by a PCK":                      signer,
		"levels of an unknown type":            "it does not look at tcbType, which says how levels are compared",
		"TCB info of an API that has ended":    "it does not look at the version",
		"another PCE":                          "it does not compare the PCE",
		"issued by a clock that is ahead":      "it is stricter: it has no patience with clocks",
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
