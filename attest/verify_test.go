package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

var today = day(2026, 6, 1)

func simulatedRoot(t testing.TB) attest.Root {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func newIssuance(t testing.TB) *simulated.Issuance {
	t.Helper()
	i, err := simulated.NewIssuance("node-1", today)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// issue signs a quote and its collateral.
func issue(t testing.TB, i *simulated.Issuance, enclave sgx.ReportBody) (*quote.Quote, *attest.Collateral) {
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

// misissued is a quote with something wrong, and what has to be found.
type misissued struct {
	name    string
	issue   func(*simulated.Issuance)              // before it is signed
	change  func(*quote.Quote, *attest.Collateral) // after it
	enclave sgx.ReportBody
	policy  attest.Policy
	at      time.Time // today, where zero
	failed  []string  // all of the checks that fail
	says    string    // one of them
}

func (m misissued) run(t *testing.T) {
	t.Helper()
	i := newIssuance(t)
	if m.issue != nil {
		m.issue(i)
	}
	q, c := issue(t, i, m.enclave)
	if m.change != nil {
		m.change(q, c)
	}
	at := m.at
	if at.IsZero() {
		at = today
	}
	r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, c, m.policy, at)
	if r == nil {
		t.Fatal(err)
	}
	checkFailures(t, r, err, nil, m.failed...)
	var details []string
	for _, check := range r.Checks {
		if !check.Passed {
			details = append(details, check.Detail)
		}
	}
	if !strings.Contains(strings.Join(details, "\n"), m.says) {
		t.Errorf("it is said that %q, want %q", details, m.says)
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return key
}

// revoke is a list with the serial number of a certificate.
func revoke(list *x509.RevocationList, a simulated.Authority) {
	list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
		x509.RevocationListEntry{SerialNumber: a.Template.SerialNumber, RevocationTime: day(2026, 5, 1)})
}

// The classes of bugs that verifiers have had, and what a quote needs all the same.
func TestMisissued(t *testing.T) {
	for _, m := range []misissued{
		{name: "nothing wrong"},

		// 1: an identity of the QE that is not looked at.
		{name: "an enclave that is not the QE vouches for the key", issue: func(i *simulated.Issuance) { i.QE.MRSigner = sgx.Measurement{1} },
			failed: []string{"quoting enclave"}, says: "it is not the quoting enclave"},
		{name: "another product of Intel's does", issue: func(i *simulated.Issuance) { i.QE.ISVProdID = 2 }, failed: []string{"quoting enclave"}, says: "product 2"},
		{name: "a QE that can be debugged does", issue: func(i *simulated.Issuance) { i.QE.Attributes.Flags |= sgx.FlagDebug }, failed: []string{"quoting enclave"}, says: "attributes"},
		{name: "a QE with MISCSELECT does", issue: func(i *simulated.Issuance) { i.QE.MiscSelect = 1 }, failed: []string{"quoting enclave"}, says: "MISCSELECT 0x1"},
		{name: "in 32-bit mode it may", issue: func(i *simulated.Issuance) { i.QE.Attributes.Flags &^= sgx.FlagMode64Bit }},
		{name: "the identity of another enclave of Intel's", issue: func(i *simulated.Issuance) { i.QEIdentity.ID = "QVE" }, failed: []string{"QE identity", "quoting enclave", "TCB status"}, says: `it is of "QVE"`},

		// 2: revocation lists that are not looked at.
		{name: "lists swapped", change: func(_ *quote.Quote, c *attest.Collateral) { c.RootCRL, c.PCKCRL = c.PCKCRL, c.RootCRL },
			failed: []string{"root CRL", "PCK CRL", "revocation"}, says: `it is of "SIMULATED (NOT INTEL) SGX PCK Processor CA"`},
		{name: "garbage for a list", change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = []byte("garbage") }, failed: []string{"PCK CRL", "revocation"}},
		{name: "a list with its signature damaged", change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL[len(c.PCKCRL)-1] ^= 1 }, failed: []string{"PCK CRL", "revocation"}, says: "it is not signed by"},
		{name: "a list with something behind it", change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = append(c.PCKCRL, 0) }, failed: []string{"PCK CRL", "revocation"}},
		{name: "a list of somebody of the same name", issue: func(i *simulated.Issuance) { i.PCKCRL.ExtraExtensions = nil },
			change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = stranger(t, "PCKCA").PCKCRL }, failed: []string{"PCK CRL", "revocation"}, says: "it is not signed by"},
		{name: "a list of the changes only", issue: func(i *simulated.Issuance) {
			i.PCKCRL.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}, failed: []string{"PCK CRL", "revocation"}, says: "critical extension"},
		{name: "an expired list", issue: func(i *simulated.Issuance) {
			i.PCKCRL.NextUpdate = today.Add(-time.Hour)
			i.PCKCRL.ThisUpdate = day(2026, 5, 1)
		},
			failed: []string{"collateral valid"}, says: "the PCK CRL"},
		{name: "an expired list of the root", issue: func(i *simulated.Issuance) {
			i.RootCRL.NextUpdate = today.Add(-time.Hour)
			i.RootCRL.ThisUpdate = day(2025, 5, 1)
		},
			failed: []string{"collateral valid"}, says: "the root CRL"},
		{name: "a list from the future", issue: func(i *simulated.Issuance) { i.PCKCRL.ThisUpdate = today.Add(25 * time.Hour) }, failed: []string{"collateral valid"}, says: "the PCK CRL"},

		// 3 and 9: revocation that is looked at the wrong way round, or not at all.
		{name: "the PCK is revoked", issue: func(i *simulated.Issuance) { revoke(i.PCKCRL, i.PCK) }, failed: []string{"revocation"}, says: "SGX PCK Certificate"},
		{name: "its CA is revoked", issue: func(i *simulated.Issuance) { revoke(i.RootCRL, i.PCKCA) }, failed: []string{"revocation"}, says: "SGX PCK Processor CA"},
		{name: "the signer of the TCB info is revoked", issue: func(i *simulated.Issuance) { revoke(i.RootCRL, i.TCBSigner) }, failed: []string{"revocation"}, says: "SGX TCB Signing"},
		{name: "another PCK is revoked", issue: func(i *simulated.Issuance) { revoke(i.PCKCRL, i.TCBSigner) }},

		// 4: security versions that are compared for equality.
		{name: "a platform that is ahead", issue: func(i *simulated.Issuance) { i.Extension.Components[3]++; i.Extension.PCESVN++ }},
		{name: "a platform that is behind", issue: func(i *simulated.Issuance) { i.Extension.Components[0]-- }, failed: []string{"TCB status"}, says: "OutOfDate, which is not accepted"},
		{name: "behind in one and ahead in another", issue: func(i *simulated.Issuance) { i.Extension.Components[0]--; i.Extension.Components[5]++ }, failed: []string{"TCB status"}, says: "OutOfDate"},
		{name: "with an old PCE", issue: func(i *simulated.Issuance) { i.Extension.PCESVN-- }, failed: []string{"TCB status"}, says: "reaches no TCB level"},
		{name: "older than all", issue: func(i *simulated.Issuance) { i.Extension.Components[1] = 0 }, failed: []string{"TCB status"}, says: "reaches no TCB level"},
		{name: "a QE that is behind", issue: func(i *simulated.Issuance) { i.QE.ISVSVN-- }, failed: []string{"TCB status"}, says: "OutOfDate"},
		{name: "a QE older than all", issue: func(i *simulated.Issuance) { i.QE.ISVSVN = 1 }, failed: []string{"TCB status"}, says: "lower than all"},
		{name: "levels in another order", issue: func(i *simulated.Issuance) {
			l := i.TCBInfo.TCBLevels
			l[0], l[1] = l[1], l[0]
		}},
		{name: "a level twice", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels = append(i.TCBInfo.TCBLevels, i.TCBInfo.TCBLevels[0]) },
			failed: []string{"TCB info", "TCB status"}, says: "a TCB level twice"},
		{name: "no levels", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels = nil }, failed: []string{"TCB info", "TCB status"}, says: "no TCB levels"},

		// 5: a status that gets lost.
		{name: "accepted although out of date", issue: func(i *simulated.Issuance) { i.Extension.Components[0]-- }, policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}}},
		{name: "out of date, and one of its advisories is not accepted", issue: func(i *simulated.Issuance) { i.Extension.Components[0]-- },
			policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}, Advisories: []string{}}, failed: []string{"advisories"}, says: "SIMULATED-SA-00001"},
		{name: "a revoked level", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels[0].TCBStatus = "Revoked" }, failed: []string{"TCB status"}, says: "Revoked"},
		{name: "a revoked QE", issue: func(i *simulated.Issuance) { i.QEIdentity.TCBLevels[0].TCBStatus = "Revoked" }, failed: []string{"TCB status"}, says: "Revoked"},
		{name: "an unknown status", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels[0].TCBStatus = "Fine" }, failed: []string{"TCB info", "TCB status"}, says: `"Fine" is no TCB status`},
		{name: "no status", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels[0].TCBStatus = "" }, failed: []string{"TCB info", "TCB status"}},

		// 6: dates that are not looked at.
		{name: "expired TCB info", issue: func(i *simulated.Issuance) { i.TCBInfo.NextUpdate = today.Add(-time.Second) }, failed: []string{"collateral valid"}, says: "the TCB info is valid from"},
		{name: "expired identity", issue: func(i *simulated.Issuance) { i.QEIdentity.NextUpdate = today.Add(-time.Second) }, failed: []string{"collateral valid"}, says: "the QE identity is valid from"},
		{name: "TCB info from the future", issue: func(i *simulated.Issuance) { i.TCBInfo.IssueDate = today.Add(25 * time.Hour) }, failed: []string{"collateral valid"}, says: "the TCB info"},
		{name: "issued by a clock that is ahead", issue: func(i *simulated.Issuance) { i.TCBInfo.IssueDate = today.Add(23 * time.Hour) }},
		{name: "an expired PCK", issue: func(i *simulated.Issuance) { i.PCK.Template.NotAfter = day(2026, 5, 31) }, failed: []string{"certificates valid"}},
		{name: "a PCK from the future", issue: func(i *simulated.Issuance) { i.PCK.Template.NotBefore = day(2026, 6, 2) }, failed: []string{"certificates valid"}},
		{name: "an expired CA", issue: func(i *simulated.Issuance) { i.PCKCA.Template.NotAfter = day(2026, 5, 31) }, failed: []string{"certificates valid"}},
		{name: "an expired signer", issue: func(i *simulated.Issuance) { i.TCBSigner.Template.NotAfter = day(2026, 5, 31) }, failed: []string{"collateral valid"}, says: "SGX TCB Signing"},
		{name: "after all of it", at: day(2060, 1, 1), failed: []string{"certificates valid", "collateral valid"}},

		// 8: collateral that is not signed by whom it should be.
		{name: "TCB info without a signature", change: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoSignature = quote.Signature{} },
			failed: []string{"TCB info", "TCB status"}, says: "it was changed"},
		{name: "changed TCB info", change: func(_ *quote.Quote, c *attest.Collateral) {
			c.TCBInfo = strings.Replace(c.TCBInfo, "OutOfDate", "UpToDate", 1)
		},
			failed: []string{"TCB info", "TCB status"}, says: "it was changed"},
		{name: "changed identity", change: func(_ *quote.Quote, c *attest.Collateral) { c.QEIdentity += " " }, failed: []string{"QE identity", "quoting enclave", "TCB status"}, says: "it was changed"},
		{name: "signed by the owner of the platform", change: func(_ *quote.Quote, c *attest.Collateral) {
			own := stranger(t, "TCBSigner")
			c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain = own.TCBInfo, own.TCBInfoSignature, own.TCBInfoIssuerChain
		}, failed: []string{"TCB info", "TCB status"}, says: "is not signed by"},
		{name: "signed by somebody below another root", change: func(_ *quote.Quote, c *attest.Collateral) {
			own := stranger(t, "Root")
			c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain = own.TCBInfo, own.TCBInfoSignature, own.TCBInfoIssuerChain
		}, failed: []string{"TCB info", "TCB status"}, says: "which is not the root"},
		{name: "signed by a PCK", issue: func(i *simulated.Issuance) { i.TCBSigner.Template.Subject.CommonName = "SGX PCK Certificate" },
			failed: []string{"TCB info", "QE identity", "quoting enclave", "TCB status"}, says: "is not the certificate of a signer"},
		{name: "signed by a CA", issue: func(i *simulated.Issuance) { i.TCBSigner.Template.IsCA = true },
			failed: []string{"TCB info", "QE identity", "quoting enclave", "TCB status"}, says: "is not the certificate of a signer"},
		{name: "without a signer", change: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoIssuerChain = "nobody" }, failed: []string{"TCB info", "TCB status"}, says: "0 certificates"},
		{name: "signed as it is, and not as it should look", change: func(_ *quote.Quote, c *attest.Collateral) {
			c.TCBInfo = strings.ReplaceAll(c.TCBInfo, ",", ",\n  ")
			signature, err := newIssuance(t).TCBSigner.Sign([]byte(c.TCBInfo))
			if err != nil {
				t.Fatal(err)
			}
			c.TCBInfoSignature = signature
		}},

		// 10: collateral of another evaluation.
		{name: "an old evaluation", policy: attest.Policy{MinEvaluationDataNumber: 18}, failed: []string{"evaluation data number"}, says: "17, which is lower than 18"},
		{name: "an old evaluation of the QE", issue: func(i *simulated.Issuance) { i.QEIdentity.TCBEvaluationDataNumber = 16 },
			policy: attest.Policy{MinEvaluationDataNumber: 17}, failed: []string{"evaluation data number"}, says: "16"},
		{name: "TCB info of an API that has ended", issue: func(i *simulated.Issuance) { i.TCBInfo.Version = 2 }, failed: []string{"TCB info", "TCB status"}, says: "version is 2"},
		{name: "TCB info of trust domains", issue: func(i *simulated.Issuance) { i.TCBInfo.ID = "TDX" }, failed: []string{"TCB info", "TCB status"}, says: `it is of "TDX"`},
		{name: "levels of an unknown type", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBType = 1 }, failed: []string{"TCB info", "TCB status"}, says: "tcbType"},

		// 12: collateral of another platform.
		{name: "another FMSPC", issue: func(i *simulated.Issuance) { i.TCBInfo.FMSPC = "00906ED50000" }, failed: []string{"TCB status"}, says: "00906ED50000"},
		{name: "another PCE", issue: func(i *simulated.Issuance) { i.TCBInfo.PCEID = "0001" }, failed: []string{"TCB status"}, says: "0001"},
		{name: "its own, in small letters", issue: func(i *simulated.Issuance) { i.TCBInfo.FMSPC = strings.ToLower(i.TCBInfo.FMSPC) }},

		// 13: a root that is known by its name.
		{name: "a root of the same name", issue: func(i *simulated.Issuance) { i.Root.Key = newKey() }, failed: []string{"trusted root"}, says: "whose key is not that of a trusted root"},
		{name: "a CA of the same name", issue: func(i *simulated.Issuance) { i.PCKCA.Key = newKey() },
			change: func(_ *quote.Quote, c *attest.Collateral) {
				_, own := issue(t, newIssuance(t), sgx.ReportBody{})
				*c = *own
			},
			failed: []string{"PCK CRL", "revocation"}, says: "it is not signed by"},

		// 14 and 15: what only the caller knows.
		{name: "an enclave that can be debugged", enclave: sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}}, failed: []string{"debug mode"}, says: "DEBUG"},
		{name: "one that may be", enclave: sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}}, policy: attest.Policy{AllowDebug: true}},
		{name: "another nonce", enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, policy: attest.Policy{ReportData: []byte{1, 3}}, failed: []string{"report data"}},
		{name: "more than the nonce", enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, policy: attest.Policy{ReportData: []byte{1}}, failed: []string{"report data"}},
		{name: "the nonce", enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, policy: attest.Policy{ReportData: []byte{1, 2}}},

		// 16: collateral that somebody keeps back.
		{name: "valid, and too old all the same", policy: attest.Policy{MaxCollateralAge: 24 * time.Hour}, at: today.AddDate(0, 0, 2), failed: []string{"collateral age"}, says: "2 days ago"},
		{name: "young enough", policy: attest.Policy{MaxCollateralAge: 72 * time.Hour}, at: today.AddDate(0, 0, 2)},
		{name: "expired, and accepted", issue: func(i *simulated.Issuance) { i.TCBInfo.NextUpdate = today; i.QEIdentity.NextUpdate = today },
			policy: attest.Policy{MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, at: today.AddDate(0, 0, 2)},
		{name: "expired, and too old", issue: func(i *simulated.Issuance) { i.TCBInfo.NextUpdate = today },
			policy: attest.Policy{MaxCollateralAge: 24 * time.Hour, AcceptExpired: true}, at: today.AddDate(0, 0, 2), failed: []string{"collateral age"}},
		{name: "accepted if expired, but the list is", issue: func(i *simulated.Issuance) { i.PCKCRL.NextUpdate = today.Add(time.Hour) },
			policy: attest.Policy{MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, at: today.AddDate(0, 0, 2), failed: []string{"collateral valid"}, says: "the PCK CRL"},

		// 17: platforms that the caller knows to be in good hands.
		{name: "a platform that is not in the list", issue: func(i *simulated.Issuance) { i.Extension.InstanceID = make([]byte, 16) },
			policy: attest.Policy{PlatformInstances: []quote.HexBytes{{1}}}, failed: []string{"platform instance"}},
		{name: "one that is", issue: func(i *simulated.Issuance) { i.Extension.InstanceID = make([]byte, 16) },
			policy: attest.Policy{PlatformInstances: []quote.HexBytes{make([]byte, 16)}}},
		{name: "one that does not tell", policy: attest.Policy{PlatformInstances: []quote.HexBytes{make([]byte, 16)}}, failed: []string{"platform instance"}, says: "does not tell"},
		{name: "SMT", issue: func(i *simulated.Issuance) { i.Extension.InstanceID, i.Extension.SMT = make([]byte, 16), true },
			policy: attest.Policy{RefuseSMT: true}, failed: []string{"SMT"}},
		{name: "no SMT, but all the rest", issue: func(i *simulated.Issuance) { i.Extension.InstanceID = make([]byte, 16) },
			policy: attest.Policy{RefuseSMT: true, RefuseCachedKeys: true, RefuseDynamicPlatform: true}, failed: []string{"dynamic platform", "cached keys"}},

		// 18: numbers that are no signatures, points that are none.
		{name: "a signature of zeros", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.Signature = quote.Signature{} }, failed: []string{"quote signature"}},
		{name: "s is zero", change: func(q *quote.Quote, _ *attest.Collateral) { clear(q.Signature.Signature[32:]) }, failed: []string{"quote signature"}},
		{name: "r is zero", change: func(q *quote.Quote, _ *attest.Collateral) { clear(q.Signature.Signature[:32]) }, failed: []string{"quote signature"}},
		{name: "r is beyond the group", change: func(q *quote.Quote, _ *attest.Collateral) {
			for i := range 32 {
				q.Signature.Signature[i] = 0xff
			}
		}, failed: []string{"quote signature"}},
		{name: "the QE's signature of zeros", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReportSignature = quote.Signature{} }, failed: []string{"QE report signature"}},
		{name: "a key off the curve", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.AttestationKey[63] ^= 1 }, failed: []string{"attestation key binding", "quote signature"}},
		{name: "a key of zeros", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.AttestationKey = quote.PublicKey{} }, failed: []string{"attestation key binding", "quote signature"}},

		// What a quote is made of.
		{name: "another enclave", change: func(q *quote.Quote, _ *attest.Collateral) { q.Enclave.MREnclave[0] ^= 1 }, failed: []string{"quote signature"}},
		{name: "another header", change: func(q *quote.Quote, _ *attest.Collateral) { q.Header.QESVN++ }, failed: []string{"quote signature"}},
		{name: "another QE", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReport.ISVSVN++ }, failed: []string{"QE report signature"}},
		{name: "other auth data", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEAuthData[0] ^= 1 }, failed: []string{"attestation key binding"}},
		{name: "the tail of the QE's report data", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReport.ReportData[63] = 1 },
			failed: []string{"QE report signature", "attestation key binding"}},
		{name: "another vendor", change: func(q *quote.Quote, _ *attest.Collateral) { q.Header.VendorID[0]++ }, failed: []string{"quote signature", "QE vendor"}},
		{name: "the chain in another order", change: reorder(t, 0, 2, 1), failed: []string{"trusted root", "PCK certificate chain", "root CRL", "PCK CRL", "TCB info", "QE identity", "revocation", "quoting enclave", "TCB status"}},
		{name: "a CA as PCK", change: reorder(t, 1, 1, 2), failed: []string{"PCK certificate chain", "platform", "QE report signature", "TCB status"}},

		// Which enclave it is.
		{name: "another MRENCLAVE", enclave: sgx.ReportBody{MREnclave: sgx.Measurement{1}}, policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}}, failed: []string{"MRENCLAVE"}},
		{name: "one of two", enclave: sgx.ReportBody{MREnclave: sgx.Measurement{1}}, policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}, {1}}}},
		{name: "another MRSIGNER", enclave: sgx.ReportBody{MRSigner: sgx.Measurement{1}}, policy: attest.Policy{MRSigners: []sgx.Measurement{{2}}}, failed: []string{"MRSIGNER"}},
		{name: "another product, and too old", enclave: sgx.ReportBody{ISVProdID: 1, ISVSVN: 1},
			policy: attest.Policy{MRSigners: []sgx.Measurement{{}}, ISVProdID: new(uint16), MinISVSVN: 2}, failed: []string{"product", "security version"}},
	} {
		t.Run(m.name, m.run)
	}
}

// stranger is the collateral of somebody who has made all of it himself, with the
// right names: just one authority has another key.
func stranger(t *testing.T, who string) *attest.Collateral {
	t.Helper()
	i := newIssuance(t)
	map[string]*simulated.Authority{"Root": &i.Root, "PCKCA": &i.PCKCA, "TCBSigner": &i.TCBSigner}[who].Key = newKey()
	if who == "TCBSigner" { // and signs his certificate himself, too
		forged := i.Root
		forged.Key = newKey()
		c, err := i.Collateral()
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := forged.Issue(i.TCBSigner)
		if err != nil {
			t.Fatal(err)
		}
		c.TCBInfoIssuerChain = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
		return c
	}
	c, err := i.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificates(t testing.TB, q *quote.Quote) []*x509.Certificate {
	t.Helper()
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// reorder returns a change of a quote that puts the certificates of its chain
// in another order.
func reorder(t testing.TB, order ...int) func(*quote.Quote, *attest.Collateral) {
	return func(q *quote.Quote, _ *attest.Collateral) {
		chain := certificates(t, q)
		q.Signature.CertificationData = quote.NewPCKChain(chain[order[0]], chain[order[1]], chain[order[2]])
	}
}

// What a verifier remembers of one quote does not help another one.
func TestVerifierRemembers(t *testing.T) {
	verifier := attest.NewVerifier(simulatedRoot(t))
	good := newIssuance(t)
	q, c := issue(t, good, sgx.ReportBody{})
	for range 2 {
		if r, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	check := func(name string, q *quote.Quote, c *attest.Collateral, policy attest.Policy, at time.Time, failed ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r, err := verifier.Verify(q, c, policy, at)
			if r == nil {
				t.Fatal(err)
			}
			checkFailures(t, r, err, nil, failed...)
		})
	}
	check("later", q, c, attest.Policy{}, today.AddDate(0, 2, 0), "collateral valid")
	check("another policy", q, c, attest.Policy{ReportData: []byte{1}}, today, "report data")

	other, err := simulated.NewIssuance("node-2", today)
	if err != nil {
		t.Fatal(err)
	}
	revoke(good.PCKCRL, other.PCK)
	theirs, revoking := issue(t, good, sgx.ReportBody{})
	check("a list with another platform", theirs, revoking, attest.Policy{}, today)
	theirs, err = other.Quote(sgx.ReportBody{})
	if err != nil {
		t.Fatal(err)
	}
	check("that platform", theirs, revoking, attest.Policy{}, today, "revocation")
	check("that platform, by the list of before", theirs, c, attest.Policy{}, today)

	changed := *c
	changed.QEIdentity += " "
	check("other collateral", q, &changed, attest.Policy{}, today, "QE identity", "quoting enclave", "TCB status")
	q.Enclave.ISVSVN++
	check("another quote", q, c, attest.Policy{}, today, "quote signature")
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
		{"no time", []attest.Root{root}, attest.Policy{}, time.Time{}, nil, "no time"},
		{"nobody trusted", nil, attest.Policy{}, today, nil, "nobody is trusted"},
		{"a root without a key", []attest.Root{{Name: "empty"}}, attest.Policy{}, today, nil, `"empty" has no key`},
		{"expired for ever", []attest.Root{root}, attest.Policy{AcceptExpired: true}, today, nil, "for ever"},
		{"a negative age", []attest.Root{root}, attest.Policy{MaxCollateralAge: -1}, today, nil, "negative"},
		{"a long nonce", []attest.Root{root}, attest.Policy{ReportData: make([]byte, 65)}, today, nil, "65 bytes"},
		{"a product of nobody", []attest.Root{root}, attest.Policy{ISVProdID: new(uint16)}, today, nil, "MRSigners"},
		{"a version of nobody's", []attest.Root{root}, attest.Policy{MinISVSVN: 1}, today, nil, "MRSigners"},
		{"revoked is fine", []attest.Root{root}, attest.Policy{Statuses: []attest.TCBStatus{attest.Revoked}}, today, nil, "Revoked"},
		{"no list", []attest.Root{root}, attest.Policy{}, today, func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = nil }, "there is no pck_crl"},
		{"no chain", []attest.Root{root}, attest.Policy{}, today, func(q *quote.Quote, _ *attest.Collateral) {
			q.Signature.CertificationData = quote.CertificationData{Type: quote.PPIDClear, Data: make([]byte, 36)}
		}, "PPID in the clear"},
		{"a broken chain", []attest.Root{root}, attest.Policy{}, today, func(q *quote.Quote, _ *attest.Collateral) {
			q.Signature.CertificationData.Data = q.Signature.CertificationData.Data[:1000]
		}, "not complete PEM"},
	} {
		q, collateral := issue(t, newIssuance(t), sgx.ReportBody{})
		if c.change != nil {
			c.change(q, collateral)
		}
		if r, err := attest.NewVerifier(c.roots...).Verify(q, collateral, c.policy, c.at); r != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", c.name, r, err, c.want)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	p, err := attest.ParsePolicy([]byte(`{"statuses": ["SWHardeningNeeded"], "mrSigners": ["` + strings.Repeat("01", 32) + `"], "isvProdId": 3,
		"reportData": "c0ffee", "maxCollateralAge": "720h", "acceptExpired": true}`))
	if err != nil || p.MaxCollateralAge != 720*time.Hour || *p.ISVProdID != 3 || p.MRSigners[0][31] != 1 || len(p.ReportData) != 3 || p.Statuses[0] != attest.SWHardeningNeeded || p.Advisories != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for text, want := range map[string]string{
		`{"mrSigner": []}`:            "unknown field",
		`{"statuses": ["Fine"]}`:      `"Fine" is no TCB status`,
		`{"statuses": ["Revoked"]}`:   "cannot be accepted",
		`{"maxCollateralAge": "30d"}`: "maxCollateralAge",
		`{"acceptExpired": true}`:     "for ever",
		`{} {}`:                       "behind",
		``:                            "EOF",
	} {
		if _, err := attest.ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
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

func TestParseRootRefuses(t *testing.T) {
	root := simulation.RootPEM()
	for _, c := range []struct {
		text []byte
		want string
	}{
		{nil, "no PEM certificate"},
		{[]byte("not PEM"), "no PEM certificate"},
		{append(append([]byte{}, root...), root...), "more than one"},
		{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), "x509"},
	} {
		if _, err := attest.ParseRoot(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v; want %q", c.text, err, c.want)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	q, c := issue(b, newIssuance(b), sgx.ReportBody{})
	for _, known := range []struct {
		name     string
		verifier func() *attest.Verifier
	}{
		{"cold", func() *attest.Verifier { return attest.NewVerifier(simulatedRoot(b)) }},
		{"warm", nil},
	} {
		b.Run(known.name, func(b *testing.B) {
			verifier := attest.NewVerifier(simulatedRoot(b))
			b.ReportAllocs()
			for b.Loop() {
				if known.verifier != nil {
					verifier = known.verifier()
				}
				if _, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// On as many threads as there are (-cpu).
func BenchmarkVerifyParallel(b *testing.B) {
	q, c := issue(b, newIssuance(b), sgx.ReportBody{})
	verifier := attest.NewVerifier(simulatedRoot(b))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// What one P-256 verification takes here.
func BenchmarkP256(b *testing.B) {
	key := newKey()
	digest := make([]byte, 32)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest, signature) {
			b.Fatal("a good signature")
		}
	}
}
