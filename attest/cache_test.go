package attest_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
)

// What a verifier remembers changes no verdict: it finds the same as one that remembers nothing,
// whatever it has verified before. Quotes and collateral of all cases, good and damaged, are
// verified in random pairs: each pair with the same root, and many with the same certificates, CRLs,
// signers, TCB info or QE identity.
func TestMemoryChangesNoVerdict(t *testing.T) {
	cases := attesttest.Cases()
	quotes, collateral := make([]*quote.Quote, len(cases)), make([]*attest.Collateral, len(cases))
	for i, c := range cases {
		var err error
		if quotes[i], collateral[i], err = c.Issue(); err != nil {
			t.Fatal(err)
		}
	}
	const seed, pairs = 17, 800
	random := rand.New(rand.NewPCG(seed, 0))
	remembering := attest.NewVerifier(simulatedRoot(t))
	trusted := 0
	for range pairs {
		i := random.IntN(len(cases))
		j := i
		if random.IntN(2) == 0 {
			j = random.IntN(len(cases))
		}
		c := cases[i]
		want, wantErr := attest.NewVerifier(simulatedRoot(t)).Verify(quotes[i], collateral[j], c.Policy, c.At)
		got, err := remembering.Verify(quotes[i], collateral[j], c.Policy, c.At)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(attest.Check{}, attest.Result{})); diff != "" || text(err) != text(wantErr) {
			t.Fatalf("seed %d: the quote of %q with the collateral of %q: %v, want %v\n%s", seed, c.Name, cases[j].Name, err, wantErr, diff)
		}
		if err == nil {
			trusted++
		}
	}
	if trusted < pairs/20 || trusted > pairs/2 {
		t.Errorf("%d of %d pairs are trusted: the test sees one kind only", trusted, pairs)
	}
}

// text returns the text of an error, or nothing.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
