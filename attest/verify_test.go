package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

var today = attesttest.Today()

func simulatedRoot(t testing.TB) attest.Root {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func newIssuer(t testing.TB) *attesttest.Issuer {
	t.Helper()
	i, err := attesttest.NewIssuer("node-1", today)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// issue returns a quote and its collateral.
func issue(t testing.TB, i *attesttest.Issuer, enclave sgx.ReportBody) (*quote.Quote, *attest.Collateral) {
	t.Helper()
	q, err := i.Quote(enclave)
	if err != nil {
		t.Fatal(err)
	}
	c, err := i.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	return q, c
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return key
}

// revoke puts the serial number of a certificate into a CRL.
func revoke(crl *x509.RevocationList, a attesttest.Authority) {
	crl.RevokedCertificateEntries = append(crl.RevokedCertificateEntries,
		x509.RevocationListEntry{SerialNumber: a.Template.SerialNumber, RevocationTime: day(2026, 5, 1)})
}

// Verify finds what is wrong in each case, and nothing else.
func TestInvalidEvidence(t *testing.T) {
	for _, c := range attesttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			q, collateral, err := c.Issue()
			if err != nil {
				t.Fatal(err)
			}
			r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, collateral, c.Policy, c.At)
			if r == nil {
				t.Fatal(err)
			}
			checkFailures(t, r, err, nil, c.Failed...)
			if want := len(c.Failed) > 0 && aboutCollateral(c.Failed[0]); errors.Is(err, attest.ErrCollateral) != want ||
				want && !strings.Contains(err.Error(), "the collateral cannot be used: ") {
				t.Errorf("a fault of the collateral: %v: %v", want, err)
			}
			var details []string
			for _, check := range r.Checks {
				if !check.Passed {
					details = append(details, check.Detail)
				}
			}
			if !strings.Contains(strings.Join(details, "\n"), c.Detail) {
				t.Errorf("details %q, want %q", details, c.Detail)
			}
		})
	}
}

// aboutCollateral reports whether a check is about the collateral: if it fails first, the quote may
// be genuine.
func aboutCollateral(name attest.CheckName) bool {
	switch name {
	case attest.CheckRootCRL, attest.CheckPCKCRL, attest.CheckTCBInfo, attest.CheckQEIdentity, attest.CheckCollateralValid,
		attest.CheckCollateralAge, attest.CheckCollateralTEE, attest.CheckCollateralPlatform, attest.CheckEvaluationDataNumber:
		return true
	}
	return false
}

// The error of a verification is the first check that failed.
func TestCheckError(t *testing.T) {
	q, c := issue(t, newIssuer(t), sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}})
	q.Enclave.ISVSVN++
	r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, c, attest.Policy{AnyEnclave: true}, today)
	failed, ok := errors.AsType[*attest.CheckError](err)
	if !ok || failed.Check != attest.CheckQuoteSignature || !errors.Is(err, attest.ErrNotTrusted) || errors.Is(err, attest.ErrIncomplete) || errors.Unwrap(err) != nil {
		t.Errorf("%#v, %v", failed, err)
	}

	// Neither is lost in JSON.
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var read attest.Result
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if again, ok := errors.AsType[*attest.CheckError](read.Err()); !ok || again.Error() != failed.Error() {
		t.Errorf("from JSON: %v, want %v", read.Err(), failed)
	}
	q.Enclave.ISVSVN--
	if r, err = attest.NewVerifier(simulatedRoot(t)).Verify(q, nil, attest.Policy{AnyEnclave: true, AllowDebug: true}, today); !errors.Is(err, attest.ErrIncomplete) || errors.Is(err, attest.ErrNotTrusted) {
		t.Fatal(err)
	}
	if text, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	read = attest.Result{}
	if err := json.Unmarshal(text, &read); err != nil || !errors.Is(read.Err(), attest.ErrIncomplete) {
		t.Errorf("from JSON: %v, %v", err, read.Err())
	}
}

// A trusted quote has not expired, also where the policy accepts collateral that has: it
// expires when the policy no longer does.
func TestExpires(t *testing.T) {
	i := newIssuer(t)
	i.TCBInfo.NextUpdate, i.QEIdentity.NextUpdate = today, today
	q, c := issue(t, i, sgx.ReportBody{})
	at := today.Add(48 * time.Hour)
	for _, tt := range []struct {
		policy attest.Policy
		at     time.Time
		want   time.Time // zero if the quote is not trusted
	}{
		{attest.Policy{AnyEnclave: true}, today, today},
		{attest.Policy{AnyEnclave: true, MaxCollateralAge: 72 * time.Hour}, today, today},
		{attest.Policy{AnyEnclave: true}, at, time.Time{}},
		{attest.Policy{AnyEnclave: true, MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, at, i.TCBInfo.IssueDate.Add(72 * time.Hour)},
		{attest.Policy{AnyEnclave: true, MaxCollateralAge: 49 * time.Hour, AcceptExpired: true}, at, i.TCBInfo.IssueDate.Add(49 * time.Hour)},
		{attest.Policy{AnyEnclave: true, MaxCollateralAge: 24 * time.Hour, AcceptExpired: true}, at, time.Time{}},
	} {
		r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, c, tt.policy, tt.at)
		if r == nil {
			t.Fatal(err)
		}
		switch {
		case tt.want.IsZero():
			if !errors.Is(err, attest.ErrCollateral) {
				t.Errorf("%+v: %v, want a fault of the collateral", tt.policy, err)
			}
		case err != nil || !r.Expires.Equal(tt.want) || r.Expires.Before(tt.at):
			t.Errorf("%+v: expires %s, want %s: %v", tt.policy, r.Expires, tt.want, err)
		}
	}
}

// Collateral that cannot be used, without a quote.
func TestCollateralError(t *testing.T) {
	_, c := issue(t, newIssuer(t), sgx.ReportBody{})
	if _, err := attest.NewVerifier(attest.IntelRoot()).Check(c, today); !errors.Is(err, attest.ErrCollateral) || strings.Contains(err.Error(), "the quote") {
		t.Errorf("%v", err)
	}
}

func certificates(t testing.TB, q *quote.Quote) []*x509.Certificate {
	t.Helper()
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// What a verifier remembers of one quote does not affect another.
func TestVerifierRemembers(t *testing.T) {
	verifier := attest.NewVerifier(simulatedRoot(t))
	good := newIssuer(t)
	q, c := issue(t, good, sgx.ReportBody{})
	for range 2 {
		if r, err := verifier.Verify(q, c, attest.Policy{AnyEnclave: true}, today); err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	check := func(name string, q *quote.Quote, c *attest.Collateral, policy attest.Policy, at time.Time, failed ...attest.CheckName) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r, err := verifier.Verify(q, c, policy, at)
			if r == nil {
				t.Fatal(err)
			}
			checkFailures(t, r, err, nil, failed...)
		})
	}
	check("later", q, c, attest.Policy{AnyEnclave: true}, today.AddDate(0, 2, 0), attest.CheckCollateralValid)
	check("another policy", q, c, attest.Policy{AnyEnclave: true, ReportData: []byte{1}}, today, attest.CheckReportData)

	other, err := attesttest.NewIssuer("node-2", today)
	if err != nil {
		t.Fatal(err)
	}
	revoke(good.PCKCRL, other.PCK)
	theirs, revoking := issue(t, good, sgx.ReportBody{})
	check("CRL with another platform", theirs, revoking, attest.Policy{AnyEnclave: true}, today)
	theirs, err = other.Quote(sgx.ReportBody{})
	if err != nil {
		t.Fatal(err)
	}
	check("the other platform", theirs, revoking, attest.Policy{AnyEnclave: true}, today, attest.CheckRevocation)
	check("the other platform with the former CRL", theirs, c, attest.Policy{AnyEnclave: true}, today)

	r, err := verifier.Verify(q, c, attest.Policy{AnyEnclave: true}, today)
	if err != nil {
		t.Fatal(err)
	}
	clear(r.Platform.FMSPC) // it belongs to the caller
	check("after the caller has modified the result", q, c, attest.Policy{AnyEnclave: true}, today)

	changed := *c
	changed.QEIdentity += " "
	check("other collateral", q, &changed, attest.Policy{AnyEnclave: true}, today, attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus)
	q.Enclave.ISVSVN++
	check("another quote", q, c, attest.Policy{AnyEnclave: true}, today, attest.CheckQuoteSignature)
}

// A verifier is safe for concurrent use.
func TestVerifierConcurrently(t *testing.T) {
	verifier := attest.NewVerifier(simulatedRoot(t))
	q, c := issue(t, newIssuer(t), sgx.ReportBody{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 4 {
				if _, err := verifier.Verify(q, c, attest.Policy{AnyEnclave: true}, today); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
}

func TestArguments(t *testing.T) {
	root := simulatedRoot(t)
	for _, c := range []struct {
		name   string
		roots  []attest.Root
		policy attest.Policy
		at     time.Time
		change func(*quote.Quote, *attest.Collateral)
		want   string
	}{
		{"no time", []attest.Root{root}, attest.Policy{AnyEnclave: true}, time.Time{}, nil, "no time of verification"},
		{"no roots", nil, attest.Policy{AnyEnclave: true}, today, nil, "no trusted roots: pass IntelRoot()"},
		{"root without a key", []attest.Root{{Name: "empty"}}, attest.Policy{AnyEnclave: true}, today, nil, `"empty" has no key`},
		{"expired forever", []attest.Root{root}, attest.Policy{AnyEnclave: true, AcceptExpired: true}, today, nil, "forever"},
		{"negative number", []attest.Root{root}, attest.Policy{AnyEnclave: true, MinEvaluationDataNumber: -1}, today, nil, "MinEvaluationDataNumber is -1"},
		{"no signer", []attest.Root{root}, attest.Policy{MRSigners: []sgx.Measurement{}}, today, nil, "mrSigners: empty list"},
		{"no platform", []attest.Root{root}, attest.Policy{AnyEnclave: true, PlatformInstances: []quote.HexBytes{}}, today, nil, "platformInstances: empty list"},
		{"any enclave of a signer", []attest.Root{root}, attest.Policy{AnyEnclave: true, MRSigners: []sgx.Measurement{{1}}}, today, nil, "AnyEnclave contradicts"},
		{"negative age", []attest.Root{root}, attest.Policy{AnyEnclave: true, MaxCollateralAge: -1}, today, nil, "negative"},
		{"long nonce", []attest.Root{root}, attest.Policy{AnyEnclave: true, ReportData: make([]byte, 65)}, today, nil, "65 bytes"},
		{"product without a signer", []attest.Root{root}, attest.Policy{AnyEnclave: true, ISVProdID: new(uint16)}, today, nil, "MRSigners"},
		{"version without a signer", []attest.Root{root}, attest.Policy{AnyEnclave: true, MinISVSVN: 1}, today, nil, "MRSigners"},
		{"revoked accepted", []attest.Root{root}, attest.Policy{AnyEnclave: true, Statuses: []attest.TCBStatus{attest.Revoked}}, today, nil, "Revoked"},
		{"no CRL", []attest.Root{root}, attest.Policy{AnyEnclave: true}, today, func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = nil }, "pck_crl is missing"},
		{"no chain", []attest.Root{root}, attest.Policy{AnyEnclave: true}, today, func(q *quote.Quote, _ *attest.Collateral) {
			q.Signature.CertificationData = quote.CertificationData{Type: quote.PPIDClear, Data: make([]byte, 36)}
		}, "PPID in the clear"},
		{"truncated chain", []attest.Root{root}, attest.Policy{AnyEnclave: true}, today, func(q *quote.Quote, _ *attest.Collateral) {
			q.Signature.CertificationData.Data = q.Signature.CertificationData.Data[:1000]
		}, "not complete PEM"},
	} {
		q, collateral := issue(t, newIssuer(t), sgx.ReportBody{})
		if c.change != nil {
			c.change(q, collateral)
		}
		if r, err := attest.NewVerifier(c.roots...).Verify(q, collateral, c.policy, c.at); r != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", c.name, r, err, c.want)
		}
	}
	if r, err := attest.NewVerifier(root).Verify(nil, nil, attest.Policy{AnyEnclave: true}, today); r != nil || err == nil {
		t.Errorf("no quote: %+v, %v", r, err)
	}
}

func TestParsePolicy(t *testing.T) {
	p, err := attest.ParsePolicy([]byte(`{"statuses": ["SWHardeningNeeded"], "mrSigners": ["` + strings.Repeat("01", 32) + `"], "isvProdId": 3,
		"reportData": "c0ffee", "maxCollateralAge": "720h", "acceptExpired": true}`))
	if err != nil || p.MaxCollateralAge != 720*time.Hour || *p.ISVProdID != 3 || p.MRSigners[0][31] != 1 || len(p.ReportData) != 3 || p.Statuses[0] != attest.SWHardeningNeeded || p.Advisories != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for text, want := range map[string]string{
		`{"mrSigner": []}`:                            `unknown member "mrSigner"`,
		`{"mrsigners": []}`:                           `did you mean "mrSigners"?`,
		`{"statuses": []}`:                            "statuses: empty list",
		`{"mrEnclaves": []}`:                          "mrEnclaves: empty list",
		`{"mrSigners": []}`:                           "mrSigners: empty list",
		`{"mrSigners": [null]}`:                       "mrSigners: null",
		`{"platformInstances": []}`:                   "platformInstances: empty list",
		`{"platformInstances": [""]}`:                 "has 0 bytes, want 16",
		`{"advisories": null}`:                        "advisories: null",
		`{"isvProdId": null}`:                         "isvProdId: null",
		`{"isvProdId": -1}`:                           "isvProdId: ",
		`{"minIsvSvn": -1}`:                           "minIsvSvn: ",
		`{"minEvaluationDataNumber": -5}`:             "MinEvaluationDataNumber is -5",
		`{"maxCollateralAge": ""}`:                    "maxCollateralAge: ",
		`{"maxCollateralAge": "0s"}`:                  "maxCollateralAge: want more than 0",
		`{"maxCollateralAge": "-1h"}`:                 "maxCollateralAge: want more than 0",
		`{"minTcbDate": ""}`:                          "not a date",
		`{"minTcbDate": "0001-01-01"}`:                "not a date",
		`{"refusedAdvisories": []}`:                   "refusedAdvisories: empty list",
		`{"refusedAdvisories": ["intel-sa-00615"]}`:   "applies to no platform",
		`{"refusedAdvisories": ["INTEL-SA-00615 "]}`:  "applies to no platform",
		`{"refusedAdvisories": ["-SA-00615"]}`:        "applies to no platform",
		`{"xfrm": {"value": "0_10", "mask": "0_10"}}`: "want 0x before hexadecimal digits",
		`{"refusedAdvisories": ["INTEL-SA-615"]}`:     "applies to no platform",
		`{"advisories": ["INTEL-SA-00615"], "refusedAdvisories": ["INTEL-SA-00615"]}`: "INTEL-SA-00615 is in Advisories and in RefusedAdvisories",
		`{"ppids": []}`:                           "ppids: empty list",
		`{"ppids": ["00"]}`:                       "has 1 bytes, want 16",
		`{"fmspcs": []}`:                          "fmspcs: empty list",
		`{"fmspcs": ["0000000000000000"]}`:        "has 8 bytes, want 6",
		`{"isvExtProdIds": []}`:                   "isvExtProdIds: empty list",
		`{"isvFamilyIds": []}`:                    "isvFamilyIds: empty list",
		`{"configIds": []}`:                       "configIds: empty list",
		`{"anyEnclave": true, "minConfigSvn": 1}`: "MinConfigSVN need MRSigners",
		`{"anyEnclave": true, "configIds": ["` + strings.Repeat("00", 64) + `"]}`: "ConfigIDs and MinConfigSVN need MRSigners",
		`{"attributes": {"value": "1"}}`:                                          `want an object with "value" and "mask"`,
		`{"attributes": {"value": "1", "mask": "1", "Mask": "1"}}`:                "unknown member",
		`{"attributes": {"value": 1, "mask": "1"}}`:                               "attributes: ",
		`{"xfrm": {"value": "0", "mask": "0"}}`:                                   "xfrm: the mask is 0",
		`{"miscSelect": {"value": "0", "mask": "0x100000000"}}`:                   "the field has 32 bits",
		`{"attributes": {"value": "010", "mask": "010"}}`:                         "want 0x before hexadecimal digits",
		`{"trustDomain": {"any": true, "allowedXfam": "0"}}`:                      "allowedXfam: 0, which no trust domain meets",
		`{"trustDomain": {"any": true, "allowedXfam": "0000e7"}}`:                 "want 0x before hexadecimal digits",
		`{"miscSelect": {"value": "3", "mask": "1"}}`:                             "outside the mask (0x2)",
		`{"xfrm": {"value": "1", "mask": "1"}, "trustDomain": {"any": true}}`:     "are about enclaves",
		`{"reportData": ""}`:                                                      "reportData: empty",
		`{"allowDebug": false, "allowDebug": true}`:                               `duplicate member "allowDebug"`,
		`{"mrSigners": ["` + strings.Repeat("01", 32) + `"], "mrsigners": []}`:    `unknown member "mrsigners"`,
		`{"mrSigners": ["` + strings.Repeat("01", 32) + `"], "anyEnclave": true}`: "AnyEnclave contradicts",
		`null`:                        "want a JSON object",
		`{"statuses": ["Fine"]}`:      `unknown TCB status "Fine"`,
		`{"statuses": ["Revoked"]}`:   "cannot be accepted",
		`{"maxCollateralAge": "30d"}`: "maxCollateralAge",
		`{"acceptExpired": true}`:     "forever",
		`{} {}`:                       "after top-level value",
		``:                            "unexpected end",
	} {
		if _, err := attest.ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

// What is written is read again as the same policy.
func TestMarshalPolicy(t *testing.T) {
	product := uint16(3)
	for _, policy := range []attest.Policy{
		{},
		{AnyEnclave: true},
		{MaxCollateralAge: 36 * time.Hour, AcceptExpired: true, MRSigners: []sgx.Measurement{{1}}, ISVProdID: &product,
			ReportData: []byte{1, 2}, Statuses: []attest.TCBStatus{attest.SWHardeningNeeded}, Advisories: []string{}},
		{MREnclaves: []sgx.Measurement{{1}}, ISVExtProdIDs: []sgx.ID16{{1}}, ISVFamilyIDs: []sgx.ID16{{2}}, ConfigIDs: []sgx.ConfigID{{3}}, MinConfigSVN: 4,
			Attributes: &attest.Masked{Value: 1, Mask: 3}, XFRM: &attest.Masked{Value: 0, Mask: 1 << 63}, MiscSelect: &attest.Masked{Value: 0, Mask: 1},
			MinTCBDate: day(2025, 1, 31), RefusedAdvisories: []string{"INTEL-SA-00615"}, PPIDs: []quote.HexBytes{make([]byte, 16)}, FMSPCs: []quote.HexBytes{make([]byte, 6)}},
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

// A policy that its reader completes may be inconsistent, but has no unknown members.
func TestUnmarshalPolicy(t *testing.T) {
	p := attest.Policy{AnyEnclave: true, MaxCollateralAge: time.Hour, MinISVSVN: 1}
	if err := json.Unmarshal([]byte(`{"acceptExpired": true, "minIsvSvn": 2}`), &p); err != nil || !p.AcceptExpired || p.MaxCollateralAge != time.Hour || p.MinISVSVN != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := json.Unmarshal([]byte(`{"minIsvSvn": 3, "mrSigner": []}`), &p); err == nil || !strings.Contains(err.Error(), "unknown member") || p.MinISVSVN != 2 {
		t.Errorf("%d, %v", p.MinISVSVN, err)
	}
	if err := json.Unmarshal([]byte(`null`), &p); err == nil {
		t.Error("null is accepted")
	}
	signers := []sgx.Measurement{{1}}
	p = attest.Policy{MRSigners: signers}
	if err := json.Unmarshal([]byte(`{"mrSigners": ["`+strings.Repeat("02", 32)+`"]}`), &p); err != nil || p.MRSigners[0][0] != 2 || signers[0][0] != 1 {
		t.Errorf("%v, the caller's list %v: %v", p.MRSigners, signers, err)
	}
}

func TestIntelRoot(t *testing.T) {
	if n := len(attest.IntelRoot().QuotingEnclaves); n != 2 {
		t.Errorf("%d quoting enclaves", n)
	}
}

func TestZeroResultIsNotTrusted(t *testing.T) {
	if err := new(attest.Result).Err(); !errors.Is(err, attest.ErrNotTrusted) {
		t.Errorf("error %v", err)
	}
}

func TestParseRootErrors(t *testing.T) {
	root := simulation.RootPEM()
	for _, c := range []struct {
		text []byte
		want string
	}{
		{nil, "0 certificates, want that of the root alone"},
		{[]byte("not PEM"), "certificate 1: not complete PEM"},
		{slices.Concat(root, root), "2 certificates, want"},
		{slices.Concat([]byte("a comment\n"), root), "certificate 1: not a PEM certificate"},
		{slices.Concat(root, []byte("a comment")), "certificate 2: not complete PEM"},
		{pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}), "certificate 1: not a PEM certificate"},
		{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), "x509"},
	} {
		if _, err := attest.ParseRoot(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v; want %q", c.text, err, c.want)
		}
	}
}
