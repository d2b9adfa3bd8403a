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
	for _, v := range []struct {
		file    string
		options attest.Options
		failed  []string // the checks that fail
	}{
		{"oasis/quote_v3_ecdsa_p256_pck_chain.bin", attest.Options{At: at}, nil},
		{"phala/sample__sgx_quote", attest.Options{At: at}, nil},
		{"phala/sample__tdx_quote", attest.Options{At: at}, nil},
		{"phala/sample__tdx_quote_outdated", attest.Options{At: at}, nil},
		{"automata/quotev3.decoded.bin", attest.Options{At: at}, nil},
		{"automata/rust-crates__samples__quotev5.dat", attest.Options{At: at}, nil},
		{"oasis/quote_v4_tdx_ecdsa_p256.bin", attest.Options{At: at}, nil},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", attest.Options{At: at}, []string{"no debug mode"}},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", attest.Options{At: at, AllowDebug: true}, nil},
		{"phala/sample__sgx_quote", attest.Options{At: at.AddDate(30, 0, 0)}, []string{"certificates valid"}},
		{"phala/sample__sgx_quote", attest.Options{At: at.AddDate(-10, 0, 0)}, []string{"certificates valid"}},
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
		if err != nil {
			t.Errorf("%s: %v", v.file, err)
			continue
		}
		checkFailures(t, v.file, r, v.failed...)
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
	if r, err := attest.Verify(q, attest.Options{At: time.Now()}); err == nil {
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
func checkFailures(t *testing.T, what string, r *attest.Result, want ...string) {
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
	if r.Trusted != (len(want) == 0) || errors.Is(r.Err(), attest.ErrNotTrusted) == r.Trusted {
		t.Errorf("%s: trusted %v, error %v", what, r.Trusted, r.Err())
	}
}
