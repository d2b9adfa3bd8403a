package oracles_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/test/oracles"
)

// vectors is the directory of genuine quotes beside the checkout.
const vectors = "../../../shared/vectors"

// genuine is a genuine quote with collateral for its platform, and the verdicts of three verifiers.
type genuine struct {
	quote      string
	collateral func(*testing.T) *attest.Collateral
	at         time.Time

	// qvl is what Intel's library, version d12717e, returned when it was run on 2026-11-26: the TCB
	// status, or its error. It appraises neither enclaves nor trust domains.
	qvl string
	// status is the TCB status according to ours, and refused are the checks that fail with a policy
	// that accepts every status.
	status  attest.TCBStatus
	refused []attest.CheckName
	// theirs is the status or a part of the error of @phala/dcap-qvl. If it accepts what ours
	// refuses, or the reverse, why is the reason.
	theirs, why string
}

func genuineQuotes() []genuine {
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	sgx, combined := bundle("phala/sample__sgx_quote_collateral.json"), bundle("combined/sgx_00606a000000_2025-08-25.collateral.json")
	tdx, later := bundle("phala/sample__tdx_quote_collateral.json"), bundle("phala/sample__tdx_quote_outdated_collateral.json")
	refused := func(names ...attest.CheckName) []attest.CheckName { return names }
	const (
		unsupported = "STATUS_TCB_NOT_SUPPORTED"
		noLevel     = "No matching TCB level found"
		expiredCRL  = "STATUS_SGX_CRL_EXPIRED" // also where a CRL is not valid yet
	)
	return []genuine{
		{"phala/sample__sgx_quote", sgx, day(2025, 6, 25), "ConfigurationAndSWHardeningNeeded", attest.ConfigurationAndSWHardeningNeeded, nil, "ConfigurationAndSWHardeningNeeded", ""},
		{"automata/solana__automata-dcap-framework__tests__data__quote_sgx.bin", sgx, day(2025, 6, 25), "ConfigurationAndSWHardeningNeeded",
			attest.ConfigurationAndSWHardeningNeeded, refused(attest.CheckDebugMode), "Debug mode is enabled", ""},
		{"automata/quotev3.decoded.bin", combined, day(2025, 8, 25), "SWHardeningNeeded", attest.SWHardeningNeeded, nil, "SWHardeningNeeded", ""},
		{"automata/rust-crates__samples__quotev3.hex", combined, day(2025, 8, 25), "SWHardeningNeeded", attest.SWHardeningNeeded, nil, "SWHardeningNeeded", ""},
		{"oasis/quote_v3_ecdsa_p256_pck_chain.bin", combined, day(2025, 8, 25), "OutOfDate", attest.OutOfDate, nil, "OutOfDate", ""},

		{"phala/sample__tdx_quote", tdx, day(2025, 6, 25), "UpToDate", attest.UpToDate, nil, "UpToDate", ""},
		{"phala/sample__tdx-quote.hex", tdx, day(2025, 6, 25), unsupported, "", refused(attest.CheckTCBStatus), noLevel, ""},
		{"phala/sample__quote-from-tappd.hex", tdx, day(2025, 6, 25), unsupported, "", refused(attest.CheckTCBStatus), noLevel, ""},
		{"phala/sample__tdx_quote_outdated", later, day(2026, 3, 1), unsupported, "", refused(attest.CheckTCBStatus), noLevel, ""},
		{"automata/rust-crates__samples__quotev5.dat", later, day(2026, 3, 1), "OutOfDate", attest.OutOfDate, nil,
			"Invalid mr service td", "it refuses every trust domain with an MRSERVICETD; ours leaves that to the policy, as Intel's library does"},
		{"automata/rust-crates__samples__quotev4.hex", teepot, day(2025, 6, 25), "OutOfDate", attest.OutOfDate, nil, "OutOfDate", ""},
		{"oasis/quote_v4_tdx_ecdsa_p256.bin", oasis("tcb_info_v3_tdx_fmspc_C0806F000000.json", "qe_identity_v2_tdx2.json"), day(2024, 9, 25), expiredCRL,
			attest.UpToDate, refused(attest.CheckCollateralValid), "not yet valid", ""},
		{"oasis/quote_v4_tdx_ecdsa_p256_trailing.bin", oasis("tcb_info_v3_tdx_fmspc_C0806F000000.json", "qe_identity_v2_tdx2.json"), day(2024, 9, 25), expiredCRL,
			attest.UpToDate, refused(attest.CheckCollateralValid), "not yet valid", ""},
		{"oasis/quote_v4_tdx_ecdsa_p256_out_of_date.bin", oasis("tcb_info_v3_tdx_fmspc_50806F000000.json", "qe_identity_v2_tdx.json"), day(2023, 7, 1), expiredCRL,
			"", refused(attest.CheckCollateralValid, attest.CheckTCBStatus, attest.CheckSEPTVEDisable), "not yet valid", ""},
	}
}

// On genuine quotes, ours has the verdict of Intel's library, and another verifier has it unless the
// table says why not.
func TestGenuineQuotes(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	verifier := attest.NewVerifier(attest.IntelRoot())
	all := genuineQuotes()
	var cases []oracles.Case
	for _, g := range all {
		data, collateral := readVector(t, g.quote), g.collateral(t)
		q, err := quote.ParsePadded(data)
		if err != nil {
			t.Fatalf("%s: %v", g.quote, err)
		}
		text, err := json.Marshal(collateral)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, oracles.Case{Quote: data, Collateral: text, At: g.at})
		r, err := verifier.Verify(q, collateral, lenient(), g.at)
		if r == nil {
			t.Fatalf("%s: %v", g.quote, err)
		}
		var refused []attest.CheckName
		genuine := true // but for what only a policy is about
		for _, c := range r.Checks {
			if !c.Passed {
				refused = append(refused, c.Name)
				genuine = genuine && (c.Name == attest.CheckDebugMode || c.Name == attest.CheckSEPTVEDisable)
			}
		}
		if r.Status != g.status || !slices.Equal(refused, g.refused) {
			t.Errorf("%s: status %q, refused %q: %v", g.quote, r.Status, refused, err)
		}
		if failed := strings.HasPrefix(g.qvl, "STATUS_"); failed == genuine || !failed && g.qvl != string(r.Status) {
			t.Errorf("%s: Intel's library: %s; ours: %s, %v", g.quote, g.qvl, r.Status, err)
		}
	}
	for i, theirs := range oracles.DCAPQVLs(t, nil, cases...) {
		g := all[i]
		if theirs.Status != g.theirs && (theirs.Error == "" || !strings.Contains(theirs.Error, g.theirs)) {
			t.Errorf("%s: theirs: %+v, want %s", g.quote, theirs, g.theirs)
		}
		if differs := (theirs.Error == "") != (len(g.refused) == 0); differs != (g.why != "") {
			t.Errorf("%s: theirs: %+v; ours: refused %q; why: %s", g.quote, theirs, g.refused, g.why)
		}
	}
}

func readVector(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err == nil && filepath.Ext(name) == ".hex" {
		data, err = hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(data)), "0x"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// bundle returns the collateral in a file.
func bundle(name string) func(*testing.T) *attest.Collateral {
	return func(t *testing.T) *attest.Collateral {
		t.Helper()
		c, err := attest.ParseCollateral(readVector(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// compose returns TCB info and QE identity as a service returns them, with CRLs of 2025 for platforms
// of the Platform CA. Empty chains mean those of 2025.
func compose(t *testing.T, tcbInfo, qeIdentity []byte, tcbChain, qeChain string) *attest.Collateral {
	t.Helper()
	c := bundle("phala/sample__tdx_quote_collateral.json")(t)
	var info struct {
		Text      json.RawMessage `json:"tcbInfo"`
		Signature quote.Signature `json:"signature"`
	}
	var identity struct {
		Text      json.RawMessage `json:"enclaveIdentity"`
		Signature quote.Signature `json:"signature"`
	}
	if err := json.Unmarshal(tcbInfo, &info); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(qeIdentity, &identity); err != nil {
		t.Fatal(err)
	}
	c.TCBInfo, c.TCBInfoSignature = string(info.Text), info.Signature
	c.QEIdentity, c.QEIdentitySignature = string(identity.Text), identity.Signature
	if tcbChain != "" {
		c.TCBInfoIssuerChain, c.QEIdentityIssuerChain = tcbChain, qeChain
	}
	return c
}

// teepot returns the collateral of FMSPC 00806F050000 as of 2025-05-27.
func teepot(t *testing.T) *attest.Collateral {
	t.Helper()
	var info struct {
		Chain string `json:"issuer_chain"`
		JSON  string `json:"tcb_info_json"`
	}
	var identity struct {
		Chain string `json:"issuer_chain"`
		JSON  string `json:"enclave_identity_json"`
	}
	if err := json.Unmarshal(readVector(t, "teepot/tdx_tcb_info_00806F050000.json"), &info); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(readVector(t, "teepot/tdx_qe_identity.json"), &identity); err != nil {
		t.Fatal(err)
	}
	return compose(t, []byte(info.JSON), []byte(identity.JSON), info.Chain, identity.Chain)
}

// oasis returns collateral of 2023 or 2024. CRLs of that time are missing: those of 2025 are not valid
// yet.
func oasis(tcbInfo, qeIdentity string) func(*testing.T) *attest.Collateral {
	return func(t *testing.T) *attest.Collateral {
		t.Helper()
		return compose(t, readVector(t, "oasis/"+tcbInfo), readVector(t, "oasis/"+qeIdentity), "", "")
	}
}
