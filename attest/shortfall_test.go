package attest_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// A platform that is not up to date is told what is short, and what mends it.
func TestShort(t *testing.T) {
	td := func(launched, now tdx.TCBSVN) *tdx.ReportBody {
		body := attesttest.TrustDomain()
		body.TEETCBSVN, body.TDX15.TEETCBSVN2 = launched, now
		return &body
	}
	current := attesttest.TrustDomain().TEETCBSVN
	oldComponent := current
	oldComponent[2]--
	name := func(list []attesttest.Component, index int, category, kind string) {
		list[index].Category, list[index].Type = category, kind
	}
	for _, c := range []struct {
		name    string
		prepare func(*attesttest.Issuer)
		td      *tdx.ReportBody
		status  attest.TCBStatus
		want    []string // starts of texts with their remedies
	}{
		{"up to date", func(*attesttest.Issuer) {}, nil, attest.UpToDate, nil},
		{"a component", func(i *attesttest.Issuer) { i.Extension.Components[0]-- }, nil, attest.OutOfDate,
			[]string{"SGX component 0: 6, want 7: update the BIOS, which has the microcode"}},
		{"a component with names", func(i *attesttest.Issuer) {
			i.Extension.Components[1]--
			level := i.TCBInfo.TCBLevels[0].TCB.(attesttest.PlatformTCB)
			name(level.Components[:], 1, "OS/VMM", "SGX Late Microcode Update")
			i.TCBInfo.TCBLevels[0].TCB = level
		}, nil, "", []string{"SGX component 1 (OS/VMM, SGX Late Microcode Update): 6, want 7: update the microcode, with the BIOS or the operating system"}},
		{"the PCE, older than all levels", func(i *attesttest.Issuer) { i.Extension.PCESVN-- }, nil, "", []string{"PCE: 12, want 13: update the PCE"}},
		{"the quoting enclave", func(i *attesttest.Issuer) { i.QE.ISVSVN-- }, nil, attest.OutOfDate, []string{"quoting enclave: 7, want 8: update the package"}},
		{"two parts", func(i *attesttest.Issuer) { i.QE.ISVSVN--; i.Extension.Components[0]-- }, nil, attest.OutOfDate,
			[]string{"SGX component 0: 6, want 7", "quoting enclave: 7, want 8"}},
		{"only hardening", func(i *attesttest.Issuer) { i.TCBInfo.TCBLevels[0].TCBStatus = "SWHardeningNeeded" }, nil, attest.SWHardeningNeeded, []string{"hardening: build the enclave"}},
		{"configuration and hardening", func(i *attesttest.Issuer) { i.TCBInfo.TCBLevels[0].TCBStatus = "ConfigurationAndSWHardeningNeeded" }, nil,
			attest.ConfigurationAndSWHardeningNeeded, []string{"configuration: change the firmware", "hardening: "}},
		{"the TDX module", func(*attesttest.Issuer) {}, td(tdx.TCBSVN{3, 1, 2}, tdx.TCBSVN{3, 1, 2}), attest.OutOfDate,
			[]string{"TDX module (TDX_01): 3, want 5: update the TDX module"}},
		{"launched before an update of the TDX module", func(*attesttest.Issuer) {}, td(tdx.TCBSVN{3, 1, 2}, current), attest.TDRelaunchAdvised,
			[]string{"TDX module (TDX_01): 3, want 5: launch the trust domain again"}},
		{"a component of the trust domain", func(*attesttest.Issuer) {}, td(oldComponent, oldComponent), attest.OutOfDate,
			[]string{"TDX component 2: 1, want 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			newIssuer, policy := attesttest.NewIssuer, attest.Policy{AnyEnclave: true}
			if c.td != nil {
				newIssuer, policy = attesttest.NewTDXIssuer, attest.Policy{TrustDomain: &attest.TDPolicy{Any: true}}
			}
			i, err := newIssuer("node-1", today)
			if err != nil {
				t.Fatal(err)
			}
			c.prepare(i)
			var q *quote.Quote
			if c.td != nil {
				q, err = i.QuoteTD(*c.td)
			} else {
				q, err = i.Quote(sgx.ReportBody{})
			}
			if err != nil {
				t.Fatal(err)
			}
			collateral, err := i.Collateral()
			if err != nil {
				t.Fatal(err)
			}
			r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, collateral, policy, today)
			if r == nil || r.Status != c.status {
				t.Fatalf("%+v, %v", r, err)
			}
			checkShort(t, r, c.want)
		})
	}
}

func checkShort(t *testing.T, r *attest.Result, want []string) {
	t.Helper()
	var got []string
	for _, s := range r.Short {
		got = append(got, s.String()+": "+s.Remedy)
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("short: %q, want %q", got, want)
	}
}

// What Intel's TCB info says of genuine platforms.
func TestShortGenuine(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	const combined = "combined/sgx_00606a000000_2025-08-25.collateral.json"
	for _, c := range []struct {
		quote, collateral string
		at                time.Time
		want              []string
	}{
		{"automata/quotev3.decoded.bin", combined, day(2025, 8, 25), []string{"hardening: build the enclave"}},
		{"oasis/quote_v3_ecdsa_p256_pck_chain.bin", combined, day(2025, 8, 25), []string{
			"SGX component 0 (BIOS, Early Microcode Update): 7, want 14: update the microcode, with the BIOS",
			"SGX component 1 (OS/VMM, SGX Late Microcode Update): 9, want 14: update the microcode, with the BIOS or the operating system"}},
		{"automata/rust-crates__samples__quotev5.dat", "phala/sample__tdx_quote_outdated_collateral.json", day(2026, 3, 1), []string{
			"SGX component 0 (BIOS, Early Microcode Update): 2, want 3", "SGX component 1 (OS/VMM, SGX Late Microcode Update): 2, want 3",
			"SGX component 4 (BIOS): 3, want 4: update the BIOS", "TDX component 2 (OS/VMM, TDX Late Microcode Update): 2, want 3",
			"TDX module (TDX_01): 5, want 6: update the TDX module"}},
		{"phala/sample__tdx_quote_outdated", "phala/sample__tdx_quote_outdated_collateral.json", day(2026, 3, 1), []string{
			"SGX component 7 (OS/VMM, SEAMLDR ACM): 3, want 5: update the SEAM loader"}},
	} {
		r, err := attest.NewVerifier(attest.IntelRoot()).Verify(readVector(t, c.quote), readCollateral(t, c.collateral), attest.Policy{AnyEnclave: true}, c.at)
		if r == nil {
			t.Fatal(err)
		}
		checkShort(t, r, c.want)
	}
}
