package oracles_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/backend/simulated"
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
	verifier := attest.NewVerifier(root)
	var cases []oracles.Case
	var ours []opinion
	for _, c := range attesttest.Cases() {
		at := c.At
		if at.IsZero() {
			at = attesttest.Today()
		}
		q, collateral := c.Make()
		cases = append(cases, newCase(t, q, collateral, at))
		result, err := verifier.Verify(q, collateral, policy, at)
		if result == nil {
			t.Fatal(err)
		}
		ours = append(ours, opinion{result.Status, err})
	}
	theirs := oracles.DCAPQVLs(t, simulation.RootPEM(), cases...)
	for i, c := range attesttest.Cases() {
		agree := ours[i].agrees(theirs[i])
		why, known := disagreements()[c.Name]
		switch {
		case !agree && !known:
			t.Errorf("%s: they: %+v; we: %s, %v", c.Name, theirs[i], ours[i].status, ours[i].err)
		case agree && known:
			t.Errorf("%s: they agree by now (%s): %+v, %v", c.Name, why, theirs[i], ours[i].err)
		}
	}
}

// opinion is ours on a quote.
type opinion struct {
	status attest.TCBStatus
	err    error
}

func (o opinion) agrees(theirs oracles.Verdict) bool {
	if o.err != nil || theirs.Error != "" {
		return o.err != nil && theirs.Error != ""
	}
	return string(o.status) == theirs.Status
}

func newCase(t *testing.T, q *quote.Quote, collateral *attest.Collateral, at time.Time) oracles.Case {
	t.Helper()
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(collateral)
	if err != nil {
		t.Fatal(err)
	}
	return oracles.Case{Quote: data, Collateral: text, At: at}
}

// differential is how many mutated quotes and how much mutated collateral both
// verifiers are to judge, by hand.
var differential = flag.Int("differential", 0, "compare verdicts on so many mutations")

// TestDifferential: what one verifier accepts of quotes and collateral in which
// something was changed at random, the other one does, too. Lists are left alone: the
// other one is known not to check them.
func TestDifferential(t *testing.T) {
	if *differential == 0 {
		t.Skip("NOT RUN: by hand, with -differential=10000")
	}
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	issuance, err := simulated.NewIssuance("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	q, err := issuance.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := issuance.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	var cases []oracles.Case
	var ours []opinion
	var changes []string
	for range *differential {
		c := newCase(t, q, collateral, attesttest.Today())
		changed := *collateral
		var change string
		switch part := random.IntN(6); part {
		case 0, 1:
			c.Quote, change = mutate(random, c.Quote)
		case 2:
			changed.TCBInfo, change = mutateText(random, changed.TCBInfo)
		case 3:
			changed.QEIdentity, change = mutateText(random, changed.QEIdentity)
		case 4:
			changed.TCBInfoIssuerChain, change = mutateText(random, changed.TCBInfoIssuerChain)
		case 5:
			i := random.IntN(len(changed.TCBInfoSignature))
			changed.TCBInfoSignature[i] ^= 1 << random.IntN(8)
			change = fmt.Sprintf("bit of byte %d of a signature", i)
		}
		if c.Collateral, err = json.Marshal(changed); err != nil {
			t.Fatal(err)
		}
		var o opinion
		parsed, err := quote.Parse(c.Quote)
		if err == nil {
			var r *attest.Result
			if r, err = attest.NewVerifier(root).Verify(parsed, &changed, attest.Policy{}, attesttest.Today()); r != nil {
				o.status = r.Status
			}
		}
		o.err = err
		cases, ours, changes = append(cases, c), append(ours, o), append(changes, change)
	}
	accepted := 0
	for i, theirs := range oracles.DCAPQVLs(t, simulation.RootPEM(), cases...) {
		if ours[i].err == nil {
			accepted++
		}
		if !ours[i].agrees(theirs) && !aboutForm(theirs, ours[i].err) {
			t.Errorf("%s: they: %+v; we: %s, %v", changes[i], theirs, ours[i].status, ours[i].err)
		}
	}
	t.Logf("%d mutations with seed %d, of which we accept %d", len(cases), seed, accepted)
}

// aboutForm tells whether a disagreement is one of those that are known and that
// change nothing in what is proven: they accept bytes behind a quote, anything for
// the root in its chain, and lines of PEM that are damaged; they refuse white space in
// PEM.
func aboutForm(theirs oracles.Verdict, ours error) bool {
	if ours == nil {
		return strings.Contains(theirs.Error, "too short for TCB Info")
	}
	return theirs.Error == "" && slices.ContainsFunc([]string{"left over", "PEM", "certificate 3", "not that of a trusted root", "Root CA\" is not signed by"},
		func(text string) bool { return strings.Contains(ours.Error(), text) })
}

// mutate changes bytes: one, a few in a row, or it takes some away or adds some.
func mutate(random *rand.Rand, data []byte) ([]byte, string) {
	data = bytes.Clone(data)
	at, n := random.IntN(len(data)), 1+random.IntN(4)
	switch random.IntN(4) {
	case 0:
		data[at] ^= 1 << random.IntN(8)
		return data, fmt.Sprintf("a bit of byte %d", at)
	case 1:
		for i := at; i < min(at+n, len(data)); i++ {
			data[i] = byte(random.IntN(256))
		}
		return data, fmt.Sprintf("%d bytes at %d", n, at)
	case 2:
		return append(data[:at], data[min(at+n, len(data)):]...), fmt.Sprintf("without %d bytes at %d", n, at)
	}
	return append(data[:at], append(bytes.Repeat([]byte{byte(random.IntN(256))}, n), data[at:]...)...), fmt.Sprintf("with %d bytes more at %d", n, at)
}

func mutateText(random *rand.Rand, text string) (string, string) {
	data, change := mutate(random, []byte(text))
	return strings.ToValidUTF8(string(data), "?"), change + " of a text"
}

// disagreements are the cases in which the other verifier says something else, and
// why ours is right.
func disagreements() map[string]string {
	const (
		lists   = "it checks neither the signature nor the issuer nor the dates of revocation lists"
		levels  = "it takes the first level of the list; Intel's library sorts them, and refuses two of the same"
		version = "it takes quotes of SGX in version 3 only"
		signer  = "it asks of the signer of TCB info only that the root has certified him"
	)
	return map[string]string{
		"nothing wrong, in version 4":          version,
		"nothing wrong, in version 5":          version,
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
