package attest_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// vectors is the folder of genuine quotes beside the checkout.
const vectors = "../../shared/vectors"

func TestGenuineQuotes(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes here: %v", err)
	}
	intelSample := readRoot(t, "intel-qvl/Src__AttestationApp__sampleData__trustedRootCaCert.pem")
	at := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	intel := attest.Options{At: at, Roots: []attest.Root{attest.IntelRoot()}}
	for _, v := range []struct {
		file    string
		options attest.Options
		failed  []string // the checks that fail
	}{
		{"oasis/quote_v3_ecdsa_p256_pck_chain.bin", intel, nil},
		{"phala/sample__sgx_quote", intel, nil},
		{"phala/sample__tdx_quote", intel, nil},
		{"phala/sample__tdx_quote_outdated", intel, nil},
		{"automata/quotev3.decoded.bin", intel, nil},
		{"automata/rust-crates__samples__quotev5.dat", intel, nil},
		{"oasis/quote_v4_tdx_ecdsa_p256.bin", intel, nil},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", intel, []string{"debug mode"}},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", attest.Options{At: at, Roots: intel.Roots, AllowDebug: true}, nil},
		{"phala/sample__sgx_quote", attest.Options{At: at.AddDate(30, 0, 0), Roots: intel.Roots}, []string{"certificates valid"}},
		{"phala/sample__sgx_quote", attest.Options{At: at.AddDate(-10, 0, 0), Roots: intel.Roots}, []string{"certificates valid"}},
		{"phala/sample__sgx_quote", attest.Options{At: at, Roots: []attest.Root{intelSample}}, []string{"trusted root"}},
	} {
		data, err := os.ReadFile(filepath.Join(vectors, v.file))
		if err != nil {
			t.Fatal(err)
		}
		q, _, err := quote.ParsePrefix(data)
		if err != nil {
			t.Fatal(err)
		}
		r, err := attest.Verify(q, v.options)
		if r == nil {
			t.Errorf("%s: %v", v.file, err)
			continue
		}
		checkFailures(t, v.file, r, err, v.failed...)
	}
}

// Each bit of the TD's debug byte opens it.
func TestDebugTD(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(vectors, "phala/sample__tdx_quote"))
	if err != nil {
		t.Skipf("NOT RUN: no genuine quotes here: %v", err)
	}
	for bit := range 8 {
		q, _, err := quote.ParsePrefix(data)
		if err != nil {
			t.Fatal(err)
		}
		q.TD.TDAttributes |= 1 << bit
		r, err := attest.Verify(q, attest.Options{At: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Roots: []attest.Root{attest.IntelRoot()}})
		if r == nil {
			t.Fatal(err)
		}
		checkFailures(t, "debug TD", r, err, "quote signature", "debug mode")
	}
}

func TestQuoteWithoutAChain(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes here: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(vectors, "oasis/quote_v3_ecdsa_p256_eppid.bin"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := quote.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := attest.Verify(q, attest.Options{At: time.Now(), Roots: []attest.Root{attest.IntelRoot()}}); err == nil {
		t.Errorf("judged as %+v", r)
	}
}

func readRoot(t *testing.T, name string) attest.Root {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	root, err := attest.ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// checkFailures: just these checks of r failed, and the verdict follows.
func checkFailures(t *testing.T, what string, r *attest.Result, err error, want ...string) {
	t.Helper()
	var failures []string
	for _, c := range r.Checks {
		if !c.Passed {
			failures = append(failures, c.Name)
		}
		if c.Detail == "" {
			t.Errorf("%s: %s says nothing", what, c.Name)
		}
	}
	if !slices.Equal(failures, want) {
		t.Errorf("%s: failed %q, want %q", what, failures, want)
	}
	if r.Trusted != (len(want) == 0) || errors.Is(err, attest.ErrNotTrusted) == r.Trusted || (err == nil) != r.Trusted {
		t.Errorf("%s: trusted %v, error %v", what, r.Trusted, err)
	}
}
