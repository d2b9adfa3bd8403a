package attest_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
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

// Certificates are public, and no signature covers what is around them: a client that sends them in many
// ways does not fill the memory.
func TestMemoryOfPaddedChains(t *testing.T) {
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
	if err != nil {
		t.Fatal(err)
	}
	verifier := attest.NewVerifier(simulatedRoot(t))
	chain := q.Signature.CertificationData.Data
	before := heap()
	for i := range 300 {
		end := []byte("-----END CERTIFICATE-----\n")
		spaces := bytes.Repeat([]byte(" "), 40<<10+i)
		for _, padded := range [][]byte{
			bytes.Replace(chain, end, append(end, spaces...), 1),
			append(bytes.TrimRight(chain, "\x00"), spaces...),
			append(bytes.Clone(chain), make([]byte, i)...),
		} {
			q.Signature.CertificationData.Data = padded
			r, err := verifier.Verify(q, nil, attest.Policy{AnyEnclave: true}, attesttest.Today())
			if r == nil || r.Root == "" || !errors.Is(err, attest.ErrIncomplete) {
				t.Fatalf("%v", err)
			}
		}
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	q.Signature.CertificationData.Data = chain
	for i := range 20 {
		padded := *collateral
		padded.TCBInfoIssuerChain += strings.Repeat(" ", 100<<10+i)
		if _, err := verifier.Verify(q, &padded, attest.Policy{AnyEnclave: true}, attesttest.Today()); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("it keeps %d KiB for one chain", grown>>10)
	}
	runtime.KeepAlive(verifier)
}

// heap returns how much memory is in use, in bytes.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
