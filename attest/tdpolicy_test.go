package attest_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// allOfTDPolicy is a policy for trust domains in which every field has a value but Any.
func allOfTDPolicy() *attest.TDPolicy {
	list := func(n byte) []tdx.Measurement { return []tdx.Measurement{{n}, {n + 1}} }
	return &attest.TDPolicy{
		MRTDs: list(1), RTMR0: list(2), RTMR1: list(3), RTMR2: list(4), RTMR3: list(5), MRConfigIDs: list(6), MROwners: list(7), MROwnerConfigs: list(8),
		MRServiceTDs: list(9), MRSEAMs: list(10), MinTEETCBSVN: tdx.TCBSVN{5, 1, 2}, AllowSEPTVE: true, AllowMigratable: true,
		RefusePKS: true, RefuseKL: true, RefusePerfmon: true, AllowedXFAM: 0xe7,
	}
}

// What is written is read again as the same policy.
func TestMarshalTDPolicy(t *testing.T) {
	for _, policy := range []attest.Policy{
		{TrustDomain: &attest.TDPolicy{Any: true}},
		{TrustDomain: allOfTDPolicy(), MRSigners: []sgx.Measurement{{1}}},
	} {
		text, err := json.Marshal(policy)
		if err != nil {
			t.Fatal(err)
		}
		read, err := attest.ParsePolicy(text)
		if diff := cmp.Diff(policy, read); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
}

func TestParseTDPolicy(t *testing.T) {
	const any = `"any": true`
	hash := `"` + strings.Repeat("01", 48) + `"`
	for text, want := range map[string]string{
		`{}`:                                      "does not state which trust domains are accepted",
		`{"mrTds": []}`:                           "mrTds: empty list",
		`{"rtmr3": [], ` + any + `}`:              "rtmr3: empty list",
		`{"mrServiceTds": [], ` + any + `}`:       "mrServiceTds: empty list",
		`{"mrTds": [` + hash + `], ` + any + `}`:  "MRTDs contradict Any",
		`{"rtmr0": [` + hash + `], ` + any + `}`:  "RTMR0 to RTMR3 need MRTDs",
		`{"rtmr0": [` + hash + `]}`:               "does not state which",
		`{"mrSeams": [` + hash + `]}`:             "does not state which",
		`{"mrTds": ["01"]}`:                       "2 digits, want 96",
		`{"mrTds": [null]}`:                       "null",
		`{"mrTds": null}`:                         "null",
		`{"mrtds": [` + hash + `]}`:               `did you mean "mrTds"?`,
		`{"mrEnclaves": [], ` + any + `}`:         `unknown member "mrEnclaves"`,
		`{"any": false}`:                          "does not state which",
		`{"any": "true"}`:                         "any: ",
		`{` + any + `, ` + any + `}`:              `duplicate member "any"`,
		`{` + any + `, "minTeeTcbSvn": "05"}`:     "2 digits, want 32",
		`{` + any + `, "minTeeTcbSvn": 5}`:        "minTeeTcbSvn: ",
		`{` + any + `, "allowedXfam": "many"}`:    "allowedXfam: ",
		`{` + any + `, "allowedXfam": "0xe4"}`:    "which no trust domain meets",
		`{` + any + `, "allowedXfam": 231}`:       "allowedXfam: ",
		`[]`:                                      "want a JSON object",
		`null`:                                    "trustDomain: null",
		`true`:                                    "want a JSON object",
		`{"mrTds": [` + hash + `]}, "statuses":1`: "statuses",
	} {
		if _, err := attest.ParsePolicy([]byte(`{"trustDomain": ` + text + `}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

// A policy that is read into another one overrides its fields, and shares nothing with it.
func TestUnmarshalTDPolicy(t *testing.T) {
	before := allOfTDPolicy()
	p := attest.Policy{TrustDomain: before}
	if err := json.Unmarshal([]byte(`{"trustDomain": {"mrTds": ["`+strings.Repeat("ff", 48)+`"], "allowSeptVe": false}}`), &p); err != nil {
		t.Fatal(err)
	}
	want := allOfTDPolicy()
	want.AllowSEPTVE = false
	want.MRTDs = []tdx.Measurement{tdx.Measurement([]byte(strings.Repeat("\xff", 48)))}
	if diff := cmp.Diff(want, p.TrustDomain); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(allOfTDPolicy(), before); diff != "" {
		t.Errorf("the former policy has changed: %s", diff)
	}
	if err := json.Unmarshal([]byte(`{"trustDomain": {"allowSeptVe": true, "mrTd": []}}`), &p); err == nil || p.TrustDomain.AllowSEPTVE {
		t.Errorf("an error leaves a trace: %v", err)
	}
}

// Each member of a policy for trust domains is appraised: a policy that differs from a lenient one
// in this member alone refuses a trust domain that the lenient one accepts.
func TestEachTDRequirement(t *testing.T) {
	issuer, err := attesttest.NewTDXIssuer("node-1", today)
	if err != nil {
		t.Fatal(err)
	}
	c, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	td := attesttest.TrustDomain()
	td.TDAttributes |= tdx.AttributePKS | tdx.AttributeKL | tdx.AttributePerfmon
	td.XFAM = 0x600e7
	q, err := issuer.QuoteTD(td)
	if err != nil {
		t.Fatal(err)
	}
	verifier := attest.NewVerifier(simulatedRoot(t))
	mrtd := `"mrTds": ["` + td.MRTD.String() + `"]`
	if _, err := verifier.Verify(q, c, parsePolicy(t, `{"trustDomain": {`+mrtd+`}}`), today); err != nil {
		t.Fatal(err)
	}
	other := `["` + strings.Repeat("01", 48) + `"]`
	for member, check := range map[string]attest.CheckName{
		`"rtmr0": ` + other: attest.CheckRTMR0, `"rtmr1": ` + other: attest.CheckRTMR1, `"rtmr2": ` + other: attest.CheckRTMR2, `"rtmr3": ` + other: attest.CheckRTMR3,
		`"mrConfigIds": ` + other: attest.CheckMRConfigID, `"mrOwners": ` + other: attest.CheckMROwner, `"mrOwnerConfigs": ` + other: attest.CheckMROwnerConfig,
		`"mrServiceTds": ` + other: attest.CheckMRServiceTD, `"mrSeams": ` + other: attest.CheckMRSEAM,
		`"minTeeTcbSvn": "05010201` + strings.Repeat("00", 12) + `"`: attest.CheckTEETCBSVN,
		`"refusePks": true`: attest.CheckPKS, `"refuseKl": true`: attest.CheckKL, `"refusePerfmon": true`: attest.CheckPerfmon, `"allowedXfam": "0xe7"`: attest.CheckXFAM,
	} {
		r, err := verifier.Verify(q, c, parsePolicy(t, `{"trustDomain": {`+mrtd+`, `+member+`}}`), today)
		if r == nil {
			t.Fatal(err)
		}
		checkFailures(t, r, err, nil, check)
	}
}

func parsePolicy(t *testing.T, text string) attest.Policy {
	t.Helper()
	p, err := attest.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// The date of a TCB status is the earliest of platform, TDX module and quoting enclave; its
// advisories are those of all three.
func TestTDXTCB(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*attesttest.Issuer, *tdx.ReportBody)
		date    string
		want    []string
	}{
		{"up to date", func(*attesttest.Issuer, *tdx.ReportBody) {}, "2025-01-01", nil},
		{"platform out of date", func(_ *attesttest.Issuer, td *tdx.ReportBody) { td.TEETCBSVN[2]-- }, "2024-01-01", []string{"SIMULATED-SA-00001"}},
		{"TDX module out of date", func(_ *attesttest.Issuer, td *tdx.ReportBody) { td.TEETCBSVN[0]-- }, "2023-01-01", []string{"SIMULATED-SA-00002"}},
		{"QE out of date", func(i *attesttest.Issuer, _ *tdx.ReportBody) { i.QE.ISVSVN-- }, "2024-01-01", nil},
		{"all out of date", func(i *attesttest.Issuer, td *tdx.ReportBody) {
			i.QE.ISVSVN--
			i.QEIdentity.TCBLevels[1].AdvisoryIDs = []string{"SIMULATED-SA-00001", "SIMULATED-SA-00000"}
			td.TEETCBSVN[0]--
			td.TEETCBSVN[2]--
		}, "2023-01-01", []string{"SIMULATED-SA-00000", "SIMULATED-SA-00001", "SIMULATED-SA-00002"}},
		{"relaunch: date and advisories are those at launch", func(_ *attesttest.Issuer, td *tdx.ReportBody) {
			td.TDX15 = &tdx.ReportBody15{TEETCBSVN2: td.TEETCBSVN}
			td.TEETCBSVN[0]--
		}, "2023-01-01", []string{"SIMULATED-SA-00002"}},
	} {
		i, err := attesttest.NewTDXIssuer("node-1", today)
		if err != nil {
			t.Fatal(err)
		}
		td := attesttest.TrustDomain()
		td.TDX15 = nil
		c.prepare(i, &td)
		q, err := i.QuoteTD(td)
		if err != nil {
			t.Fatal(err)
		}
		collateral, err := i.Collateral()
		if err != nil {
			t.Fatal(err)
		}
		r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, collateral, attest.Policy{TrustDomain: &attest.TDPolicy{Any: true}}, today)
		if r == nil {
			t.Fatal(err)
		}
		if date := r.TCBDate.Format("2006-01-02"); date != c.date || !cmp.Equal(r.Advisories, c.want) || r.EvaluationDataNumber != 17 {
			t.Errorf("%s: %s %q, number %d: %v", c.name, date, r.Advisories, r.EvaluationDataNumber, err)
		}
	}
}

// A quote put together by hand, which has no trust domain where its header says so or both kinds of
// body, is refused.
func TestInconsistentQuote(t *testing.T) {
	i, err := attesttest.NewTDXIssuer("node-1", today)
	if err != nil {
		t.Fatal(err)
	}
	c, err := i.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*quote.Quote){
		"no body":             func(q *quote.Quote) { q.TD = nil },
		"an enclave":          func(q *quote.Quote) { q.TD, q.Enclave = nil, new(sgx.ReportBody) },
		"two bodies":          func(q *quote.Quote) { q.Enclave = new(sgx.ReportBody) },
		"a header for SGX":    func(q *quote.Quote) { q.Header.TEE = quote.SGX },
		"no part of TDX 1.5":  func(q *quote.Quote) { q.TD.TDX15 = nil },
		"another body type":   func(q *quote.Quote) { q.BodyType = quote.BodyTDX15Ex },
		"an unknown version":  func(q *quote.Quote) { q.Header.Version = 6 },
		"an unknown TEE type": func(q *quote.Quote) { q.Header.TEE = 7 },
	} {
		q, err := i.QuoteTD(attesttest.TrustDomain())
		if err != nil {
			t.Fatal(err)
		}
		change(q)
		if r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, c, attest.Policy{AnyEnclave: true, TrustDomain: &attest.TDPolicy{Any: true}, ReportData: []byte{1}}, today); err == nil || r != nil && r.Trusted {
			t.Errorf("%s is accepted", name)
		}
	}
}

// Without collateral and requirements, the result lists what was not checked of a trust domain.
func TestUncheckedTrustDomain(t *testing.T) {
	i, err := attesttest.NewTDXIssuer("node-1", today)
	if err != nil {
		t.Fatal(err)
	}
	bound := attesttest.TrustDomain()
	bound.TDX15.MRServiceTD = tdx.Measurement{1}
	missing := []attest.Unchecked{attest.UncheckedRevocation, attest.UncheckedTCB, attest.UncheckedQuotingEnclave, attest.UncheckedTDXModule}
	for _, c := range []struct {
		td     tdx.ReportBody
		policy attest.TDPolicy
		want   []attest.Unchecked
	}{
		{attesttest.TrustDomain(), attest.TDPolicy{Any: true}, []attest.Unchecked{attest.UncheckedTrustDomain, attest.UncheckedRTMR}},
		{bound, attest.TDPolicy{Any: true}, []attest.Unchecked{attest.UncheckedTrustDomain, attest.UncheckedRTMR, attest.UncheckedServiceTD}},
		{bound, attest.TDPolicy{MRTDs: []tdx.Measurement{{}}, RTMR3: []tdx.Measurement{{}}, MRServiceTDs: []tdx.Measurement{{1}}}, nil},
	} {
		q, err := i.QuoteTD(c.td)
		if err != nil {
			t.Fatal(err)
		}
		r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, nil, attest.Policy{TrustDomain: &c.policy}, today)
		if r == nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Concat(missing, c.want, []attest.Unchecked{attest.UncheckedReportData}), r.NotChecked); diff != "" || !errors.Is(err, attest.ErrIncomplete) {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}
