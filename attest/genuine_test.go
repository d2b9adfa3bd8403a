package attest_test

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		tdx      = "phala/sample__tdx_quote_collateral.json"              // 2025-06-19 to 2025-07-19
		outdated = "phala/sample__tdx_quote_outdated_collateral.json"     // 2026-02-18 to 2026-03-20
	)
	td := func(statuses ...attest.TCBStatus) attest.Policy {
		return attest.Policy{Statuses: statuses, TrustDomain: &attest.TDPolicy{Any: true}}
	}
	hardening := attest.Policy{AnyEnclave: true, Statuses: []attest.TCBStatus{attest.SWHardeningNeeded}}
	all := attest.Policy{AnyEnclave: true, Statuses: []attest.TCBStatus{attest.SWHardeningNeeded, attest.ConfigurationAndSWHardeningNeeded, attest.OutOfDate}}
	for _, v := range []struct {
		name, file, collateral string
		at                     time.Time
		policy                 attest.Policy
		status                 attest.TCBStatus
		failed                 []attest.CheckName // all checks that fail
		err                    error              // if none fails
	}{
		{"phala", "phala/sample__sgx_quote", phala, day(2025, 6, 25), attest.Policy{AnyEnclave: true}, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"phala, accepted", "phala/sample__sgx_quote", phala, day(2025, 6, 25), all, attest.ConfigurationAndSWHardeningNeeded, nil, nil},
		{"phala, without its advisories", "phala/sample__sgx_quote", phala, day(2025, 6, 25),
			attest.Policy{AnyEnclave: true, Statuses: all.Statuses, Advisories: []string{"INTEL-SA-00289"}}, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckAdvisories}, nil},
		{"phala, after its collateral", "phala/sample__sgx_quote", phala, day(2025, 7, 25), all, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckCollateralValid}, nil},
		{"phala, before its collateral", "phala/sample__sgx_quote", phala, day(2025, 6, 1), all, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckCollateralValid}, nil},
		{"phala, the collateral of another platform", "phala/sample__sgx_quote", combined, day(2025, 8, 25), all, "", []attest.CheckName{attest.CheckPCKCRL, attest.CheckRevocation, attest.CheckCollateralPlatform, attest.CheckTCBStatus}, nil},
		{"automata", "automata/quotev3.decoded.bin", combined, day(2025, 8, 25), attest.Policy{AnyEnclave: true}, attest.SWHardeningNeeded, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"automata, accepted", "automata/quotev3.decoded.bin", combined, day(2025, 8, 25), hardening, attest.SWHardeningNeeded, nil, nil},
		{"oasis", "oasis/quote_v3_ecdsa_p256_pck_chain.bin", combined, day(2025, 8, 25), hardening, attest.OutOfDate, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"oasis, accepted", "oasis/quote_v3_ecdsa_p256_pck_chain.bin", combined, day(2025, 8, 25), all, attest.OutOfDate, nil, nil},
		{"debug", "automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", phala, day(2025, 6, 25), all, attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckDebugMode}, nil},
		{"no collateral", "phala/sample__sgx_quote", "", day(2025, 6, 25), all, "", nil, attest.ErrIncomplete},
		{"TDX, version 4", "phala/sample__tdx_quote", tdx, day(2025, 6, 25), td(), attest.UpToDate, nil, nil},
		{"TDX, a policy for enclaves", "phala/sample__tdx_quote", tdx, day(2025, 6, 25), all, attest.UpToDate, []attest.CheckName{attest.CheckTEE}, nil},
		{"SGX, a policy for trust domains", "phala/sample__sgx_quote", phala, day(2025, 6, 25), td(all.Statuses...), attest.ConfigurationAndSWHardeningNeeded, []attest.CheckName{attest.CheckTEE}, nil},
		{"TDX, after its collateral", "phala/sample__tdx_quote", tdx, day(2025, 7, 25), td(), attest.UpToDate, []attest.CheckName{attest.CheckCollateralValid}, nil},
		{"TDX, collateral for SGX", "phala/sample__tdx_quote", phala, day(2025, 6, 25), td(), "",
			[]attest.CheckName{attest.CheckPCKCRL, attest.CheckRevocation, attest.CheckCollateralTEE, attest.CheckCollateralPlatform, attest.CheckQuotingEnclave, attest.CheckTDXModule, attest.CheckTCBStatus}, nil},
		{"SGX, collateral for TDX", "automata/quotev3.decoded.bin", tdx, day(2025, 6, 25), hardening, "",
			[]attest.CheckName{attest.CheckCollateralTEE, attest.CheckCollateralPlatform, attest.CheckQuotingEnclave, attest.CheckTCBStatus}, nil},
		{"TDX, older than all TCB levels", "phala/sample__tdx-quote.hex", tdx, day(2025, 6, 25), td(), "", []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"TDX, version 5, older than all TCB levels", "phala/sample__tdx_quote_outdated", outdated, day(2026, 3, 1), td(), "", []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"TDX, version 5, out of date", "automata/rust-crates__samples__quotev5.dat", outdated, day(2026, 3, 1), td(), attest.OutOfDate, []attest.CheckName{attest.CheckTCBStatus}, nil},
		{"TDX, version 5, out of date and accepted", "automata/rust-crates__samples__quotev5.dat", outdated, day(2026, 3, 1), td(attest.OutOfDate), attest.OutOfDate, nil, nil},
		{"TDX, version 4, no collateral", "oasis/quote_v4_tdx_ecdsa_p256.bin", "", day(2025, 6, 25), td(), "", nil, attest.ErrIncomplete},
		{"TDX, version 5, no collateral", "automata/rust-crates__samples__quotev5.dat", "", day(2025, 6, 25), td(), "", nil, attest.ErrIncomplete},
		{"TDX, SEPT_VE_DISABLE off", "oasis/quote_v4_tdx_ecdsa_p256_out_of_date.bin", "", day(2025, 6, 25), td(), "", []attest.CheckName{attest.CheckSEPTVEDisable}, nil},
		{"TDX, SEPT_VE_DISABLE off and accepted", "oasis/quote_v4_tdx_ecdsa_p256_out_of_date.bin", "", day(2025, 6, 25),
			attest.Policy{TrustDomain: &attest.TDPolicy{Any: true, AllowSEPTVE: true}}, "", nil, attest.ErrIncomplete},
	} {
		t.Run(v.name, func(t *testing.T) {
			q := readVector(t, v.file)
			var collateral *attest.Collateral
			if v.collateral != "" {
				collateral = readCollateral(t, v.collateral)
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
		if r, err := attest.NewVerifier(attest.IntelRoot()).Verify(readVector(t, file), nil, attest.Policy{AnyEnclave: true}, day(2025, 6, 25)); r != nil || err == nil {
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
		r, err := attest.NewVerifier(attest.IntelRoot()).Verify(q, nil, attest.Policy{TrustDomain: &attest.TDPolicy{Any: true}}, day(2025, 6, 25))
		if r == nil {
			t.Fatal(err)
		}
		checkFailures(t, r, err, nil, attest.CheckQuoteSignature, attest.CheckDebugMode)
	}
}

func readVector(t testing.TB, name string) *quote.Quote {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(name) == ".hex" {
		if data, err = hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(data)), "0x")); err != nil {
			t.Fatal(err)
		}
	}
	q, err := quote.ParsePadded(data)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func readCollateral(t testing.TB, file string) *attest.Collateral {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectors, file))
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := attest.ParseCollateral(text)
	if err != nil {
		t.Fatal(err)
	}
	return collateral
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
