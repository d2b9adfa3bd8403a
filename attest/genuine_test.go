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

// vectors is the directory of genuine quotes beside the checkout.
const vectors = "../../shared/vectors"

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// Where other verifiers make the same checks, they have the same verdicts.
func TestGenuineQuotes(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	const (
		phala    = "phala/sample__sgx_quote_collateral.json"              // 2025-06-19 to 2025-07-19
		combined = "combined/sgx_00606a000000_2025-08-25.collateral.json" // of several publishers
	)
	hardening := attest.Policy{Statuses: []attest.TCBStatus{attest.SWHardeningNeeded}}
	all := attest.Policy{Statuses: []attest.TCBStatus{attest.SWHardeningNeeded, attest.ConfigurationAndSWHardeningNeeded, attest.OutOfDate}}
	for _, v := range []struct {
		name, file, collateral string
		at                     time.Time
		policy                 attest.Policy
		status                 attest.TCBStatus
		failed                 []attest.CheckName // all checks that fail
		err                    error              // if none fails
	}{
		{"phala", "phala/sample__sgx_quote", phala, day(2025, 6, 25), attest.Policy{}, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"phala, accepted", "phala/sample__sgx_quote", phala, day(2025, 6, 25), all, attest.ConfigurationAndSWHardeningNeeded, nil, nil},
		{"phala, without its advisories", "phala/sample__sgx_quote", phala, day(2025, 6, 25),
			attest.Policy{Statuses: all.Statuses, Advisories: []string{"INTEL-SA-00289"}}, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckAdvisories}, nil},
		{"phala, after its collateral", "phala/sample__sgx_quote", phala, day(2025, 7, 25), all, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckCollateralValid}, nil},
		{"phala, before its collateral", "phala/sample__sgx_quote", phala, day(2025, 6, 1), all, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckCollateralValid}, nil},
		{"phala, the collateral of another platform", "phala/sample__sgx_quote", combined, day(2025, 8, 25), all, "", []attest.CheckName{attest.CheckPCKCRL, attest.CheckRevocation, attest.CheckCollateralPlatform, attest.CheckTCBStatus}, nil},
		{"automata", "automata/quotev3.decoded.bin", combined, day(2025, 8, 25), attest.Policy{}, attest.SWHardeningNeeded, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"automata, accepted", "automata/quotev3.decoded.bin", combined, day(2025, 8, 25), hardening, attest.SWHardeningNeeded, nil, nil},
		{"oasis", "oasis/quote_v3_ecdsa_p256_pck_chain.bin", combined, day(2025, 8, 25), hardening, attest.OutOfDate, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"oasis, accepted", "oasis/quote_v3_ecdsa_p256_pck_chain.bin", combined, day(2025, 8, 25), all, attest.OutOfDate, nil, nil},
		{"debug", "automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", phala, day(2025, 6, 25), all, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckDebugMode}, nil},
		{"no collateral", "phala/sample__sgx_quote", "", day(2025, 6, 25), all, "", nil, attest.ErrIncomplete},
		{"TDX, version 4", "phala/sample__tdx_quote", phala, day(2025, 6, 25), all, "", nil, attest.ErrIncomplete},
		{"TDX, version 4, out of date", "phala/sample__tdx_quote_outdated", "", day(2026, 2, 1), all, "", nil, attest.ErrIncomplete},
		{"TDX, version 5", "automata/rust-crates__samples__quotev5.dat", "", day(2025, 6, 25), all, "", nil, attest.ErrIncomplete},
		{"TDX, oasis", "oasis/quote_v4_tdx_ecdsa_p256.bin", "", day(2025, 6, 25), all, "", nil, attest.ErrIncomplete},
	} {
		t.Run(v.name, func(t *testing.T) {
			q := readVector(t, v.file)
			var collateral *attest.Collateral
			if v.collateral != "" {
				text, err := os.ReadFile(filepath.Join(vectors, v.collateral))
				if err != nil {
					t.Fatal(err)
				}
				if collateral, err = attest.ParseCollateral(text); err != nil {
					t.Fatal(err)
				}
			}
			verifier := attest.NewVerifier(attest.IntelRoot())
			for range 2 { // the second time from the cache
				r, err := verifier.Verify(q, collateral, v.policy, v.at)
				if r == nil {
					t.Fatal(err)
				}
				checkFailures(t, r, err, v.err, v.failed...)
				if r.Status != v.status {
					t.Errorf("status %q, want %q", r.Status, v.status)
				}
			}
			r, err := attest.NewVerifier(readRoot(t, "intel-qvl/Src__AttestationApp__sampleData__trustedRootCaCert.pem")).Verify(q, collateral, v.policy, v.at)
			if r == nil || r.Trusted || r.Checks[0].Passed || !errors.Is(err, attest.ErrNotTrusted) {
				t.Errorf("with another root: %v", err)
			}
		})
	}
}

// Without a certificate chain there is nothing to verify.
func TestNoChain(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	for _, file := range []string{"oasis/quote_v3_ecdsa_p256_eppid.bin", "intel-qvl/Src__AttestationApp__sampleData__quote.dat"} {
		if r, err := attest.NewVerifier(attest.IntelRoot()).Verify(readVector(t, file), nil, attest.Policy{}, day(2025, 6, 25)); r != nil || err == nil {
			t.Errorf("%s has no chain: %+v", file, r)
		}
	}
}

// Each bit of the debug byte of TDATTRIBUTES puts the trust domain in debug mode.
func TestDebugTD(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	for bit := range 8 {
		q := readVector(t, "phala/sample__tdx_quote")
		q.TD.TDAttributes |= 1 << bit
		r, err := attest.NewVerifier(attest.IntelRoot()).Verify(q, nil, attest.Policy{}, day(2025, 6, 25))
		if r == nil {
			t.Fatal(err)
		}
		checkFailures(t, r, err, nil, attest.CheckQuoteSignature, attest.CheckDebugMode)
	}
}

func readVector(t *testing.T, name string) *quote.Quote {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := quote.ParsePrefix(data)
	if err != nil {
		t.Fatal(err)
	}
	return q
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

// checkFailures checks that exactly these checks of r failed and that the verdict follows from
// them. If none is to fail, err must be other, or nil.
func checkFailures(t *testing.T, r *attest.Result, err, other error, want ...attest.CheckName) {
	t.Helper()
	var failures []attest.CheckName
	for _, c := range r.Checks {
		if !c.Passed {
			failures = append(failures, c.Name)
		}
		if c.Detail == "" {
			t.Errorf("%s has no detail", c.Name)
		}
	}
	if !slices.Equal(failures, want) {
		t.Errorf("failed %q, want %q: %v", failures, want, err)
	}
	switch {
	case len(want) > 0:
		other = attest.ErrNotTrusted
	case other == nil:
		if !r.Trusted || err != nil {
			t.Errorf("trusted %v, error %v", r.Trusted, err)
		}
		return
	}
	if r.Trusted || !errors.Is(err, other) {
		t.Errorf("trusted %v, error %v, want %v", r.Trusted, err, other)
	}
}
