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

// Another verifier accepts the quote of a simulated platform with its collateral and root, and
// refuses it otherwise.
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
		{name: "simulated root", root: simulation.RootPEM(), at: now, status: "UpToDate"},
		{name: "Intel's root", at: now, refuse: "Failed to verify certificate chain"},
		{name: "modified quote", root: simulation.RootPEM(), at: now, change: func(q *quote.Quote) { q.Enclave.ISVSVN++ }, refuse: "signature"},
		{name: "expired collateral", root: simulation.RootPEM(), at: now.AddDate(0, 2, 0), refuse: "expired"},
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

// On quotes and collateral with something wrong in them, another verifier has the same verdict as
// ours, except where it is known to be wrong or lax.
func TestInvalidEvidence(t *testing.T) {
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	policy := lenient()
	verifier := attest.NewVerifier(root)
	var cases []oracles.Case
	var ours []opinion
	for _, c := range attesttest.Cases() {
		q, collateral, err := c.Issue()
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, newCase(t, q, collateral, c.At))
		result, err := verifier.Verify(q, collateral, policy, c.At)
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
			t.Errorf("%s: theirs: %+v; ours: %s, %v", c.Name, theirs[i], ours[i].status, ours[i].err)
		case agree && known:
			t.Errorf("%s: theirs agrees by now (%s): %+v, %v", c.Name, why, theirs[i], ours[i].err)
		}
	}
	for name := range disagreements() {
		if !slices.ContainsFunc(attesttest.Cases(), func(c attesttest.Case) bool { return c.Name == name }) {
			t.Errorf("no case has the name %q", name)
		}
	}
}

// lenient returns a policy like that of the other verifier, which returns the TCB status and appraises
// little: debug mode, and attributes of trust domains.
func lenient() attest.Policy {
	return attest.Policy{
		Statuses: []attest.TCBStatus{attest.SWHardeningNeeded, attest.ConfigurationNeeded, attest.ConfigurationAndSWHardeningNeeded,
			attest.TDRelaunchAdvised, attest.TDRelaunchAdvisedConfigurationNeeded, attest.OutOfDate, attest.OutOfDateConfigurationNeeded},
		AnyEnclave: true, TrustDomain: &attest.TDPolicy{Any: true},
	}
}

// opinion is our verdict on a quote.
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

// differential is a number of mutations, to be set by hand.
var differential = flag.Int("differential", 0, "compare verdicts on this `number` of mutated quotes and collateral")

// Both verifiers have the same verdict on quotes and collateral with a random mutation, of enclaves and
// of trust domains. CRLs are not mutated: the other verifier is known not to check them.
func TestDifferential(t *testing.T) {
	if *differential == 0 {
		t.Skip("NOT RUN: run it by hand with -differential=10000")
	}
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	all := originals(t)
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	var cases []oracles.Case
	var ours []opinion
	var changes []string
	for range *differential {
		original := all[random.IntN(len(all))]
		c := newCase(t, original.quote, original.collateral, attesttest.Today())
		changed := *original.collateral
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
			change = fmt.Sprintf("flip a bit of byte %d of the TCB info's signature", i)
		}
		change += " of a quote of " + original.quote.BodyType.String()
		if c.Collateral, err = json.Marshal(changed); err != nil {
			t.Fatal(err)
		}
		var o opinion
		parsed, err := quote.Parse(c.Quote)
		if err == nil {
			var r *attest.Result
			if r, err = attest.NewVerifier(root).Verify(parsed, &changed, lenient(), attesttest.Today()); r != nil {
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
			t.Errorf("%s: theirs: %+v; ours: %s, %v", changes[i], theirs, ours[i].status, ours[i].err)
		}
	}
	t.Logf("%d mutations with seed %d, %d accepted", len(cases), seed, accepted)
}

// evidence is a quote with its collateral.
type evidence struct {
	quote      *quote.Quote
	collateral *attest.Collateral
}

// originals returns evidence of an enclave and of trust domains that both verifiers accept.
func originals(t *testing.T) []evidence {
	t.Helper()
	sgxIssuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	tdxIssuer, err := attesttest.NewTDXIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	tdx10, tdx15 := attesttest.TrustDomain(), attesttest.TrustDomain()
	tdx10.TDX15 = nil
	var all []evidence
	for _, issue := range []struct {
		from  *attesttest.Issuer
		quote func() (*quote.Quote, error)
	}{
		{sgxIssuer, func() (*quote.Quote, error) { return sgxIssuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}}) }},
		{tdxIssuer, func() (*quote.Quote, error) { return tdxIssuer.QuoteTD(tdx10) }},
		{tdxIssuer, func() (*quote.Quote, error) { return tdxIssuer.QuoteTD(tdx15) }},
	} {
		q, err := issue.quote()
		if err != nil {
			t.Fatal(err)
		}
		collateral, err := issue.from.Collateral()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, evidence{q, collateral})
	}
	return all
}

// aboutForm reports whether a disagreement is a known one that does not change what is proven. The
// other verifier accepts bytes after a quote, any root certificate in its chain, any type of the outer
// certification data since version 4, and damaged lines of PEM; it refuses white space in PEM.
func aboutForm(theirs oracles.Verdict, ours error) bool {
	if ours == nil {
		return strings.Contains(theirs.Error, "too short for TCB Info")
	}
	return theirs.Error == "" && slices.ContainsFunc([]string{"left over", "PEM", "certificate 3", "want 6 (QE report certification data)", "not that of a trusted root", "Root CA\" is not signed by"},
		func(text string) bool { return strings.Contains(ours.Error(), text) })
}

// mutate flips a bit, or replaces, removes or inserts a few bytes.
func mutate(random *rand.Rand, data []byte) ([]byte, string) {
	data = bytes.Clone(data)
	at, n := random.IntN(len(data)), 1+random.IntN(4)
	switch random.IntN(4) {
	case 0:
		data[at] ^= 1 << random.IntN(8)
		return data, fmt.Sprintf("flip a bit of byte %d", at)
	case 1:
		for i := at; i < min(at+n, len(data)); i++ {
			data[i] = byte(random.IntN(256))
		}
		return data, fmt.Sprintf("replace %d bytes at %d", n, at)
	case 2:
		return append(data[:at], data[min(at+n, len(data)):]...), fmt.Sprintf("remove %d bytes at %d", n, at)
	}
	return append(data[:at], append(bytes.Repeat([]byte{byte(random.IntN(256))}, n), data[at:]...)...), fmt.Sprintf("insert %d bytes at %d", n, at)
}

func mutateText(random *rand.Rand, text string) (string, string) {
	data, change := mutate(random, []byte(text))
	return strings.ToValidUTF8(string(data), "?"), change + " of a text"
}

func collateralJSON(t *testing.T, now time.Time) []byte {
	t.Helper()
	collateral, err := attesttest.NewCollateral(now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(collateral)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
