// Package attesttest has quotes and collateral of a simulated platform with something
// wrong in them, one thing each: what verifiers have got wrong before, and what they
// must find. It serves tests alone.
package attesttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"strings"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Today is when all of it is issued.
func Today() time.Time { return day(2026, 6, 1) }

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// Case is a quote with something wrong, and what has to be found.
type Case struct {
	Name    string
	Enclave sgx.ReportBody
	Policy  attest.Policy
	At      time.Time // Today, where zero
	Failed  []string  // all of the checks that fail
	Says    string    // one of them

	issue  func(*simulated.Issuance)              // before it is signed
	change func(*quote.Quote, *attest.Collateral) // after it
}

// Make issues the quote and its collateral.
func (c Case) Make() (*quote.Quote, *attest.Collateral) {
	i := newIssuance()
	if c.issue != nil {
		c.issue(i)
	}
	q, k := must(i.Quote(c.Enclave)), collateral(i)
	if c.change != nil {
		c.change(q, k)
	}
	return q, k
}

// must is for what fails only where this package is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newIssuance() *simulated.Issuance { return must(simulated.NewIssuance("node-1", Today())) }

func collateral(i *simulated.Issuance) *attest.Collateral { return must(i.Collateral()) }

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// revoke puts the serial number of a certificate into a list.
func revoke(list *x509.RevocationList, a simulated.Authority) {
	list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
		x509.RevocationListEntry{SerialNumber: a.Template.SerialNumber, RevocationTime: day(2026, 5, 1)})
}

// stranger is the collateral of somebody who has made all of it himself, with the
// right names: just one authority has another key.
func stranger(who string) *attest.Collateral {
	i := newIssuance()
	map[string]*simulated.Authority{"Root": &i.Root, "PCKCA": &i.PCKCA, "TCBSigner": &i.TCBSigner}[who].Key = newKey()
	c := collateral(i)
	if who == "TCBSigner" { // and signs his certificate himself, too
		forged := i.Root
		forged.Key = newKey()
		certificate := must(forged.Issue(i.TCBSigner))
		c.TCBInfoIssuerChain = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return c
}

// reorder returns a change of a quote that puts the certificates of its chain in
// another order.
func reorder(order ...int) func(*quote.Quote, *attest.Collateral) {
	return func(q *quote.Quote, _ *attest.Collateral) {
		chain := must(q.Signature.CertificationData.Certificates())
		q.Signature.CertificationData = quote.NewPCKChain(chain[order[0]], chain[order[1]], chain[order[2]])
	}
}

// Cases are all of them, with some among them in which nothing is wrong. The numbers
// are those of the classes of bugs that verifiers have had.
func Cases() []Case {
	return []Case{
		{Name: "nothing wrong"},
		{Name: "nothing wrong, in version 4", issue: func(i *simulated.Issuance) { i.Version = quote.Version4 }},
		{Name: "nothing wrong, in version 5", issue: func(i *simulated.Issuance) { i.Version = quote.Version5 }},
		{Name: "version 4 that says it is 3", issue: func(i *simulated.Issuance) { i.Version = quote.Version4 },
			change: func(q *quote.Quote, _ *attest.Collateral) { q.Header.Version = quote.Version3 }, Failed: []string{"quote signature"}},

		// 1: an identity of the QE that is not looked at.
		{Name: "an enclave that is not the QE vouches for the key", issue: func(i *simulated.Issuance) { i.QE.MRSigner = sgx.Measurement{1} },
			Failed: []string{"quoting enclave"}, Says: "it is not the quoting enclave"},
		{Name: "another product of Intel's does", issue: func(i *simulated.Issuance) { i.QE.ISVProdID = 2 }, Failed: []string{"quoting enclave"}, Says: "product 2"},
		{Name: "a QE that can be debugged does", issue: func(i *simulated.Issuance) { i.QE.Attributes.Flags |= sgx.FlagDebug }, Failed: []string{"quoting enclave"}, Says: "attributes"},
		{Name: "a QE with MISCSELECT does", issue: func(i *simulated.Issuance) { i.QE.MiscSelect = 1 }, Failed: []string{"quoting enclave"}, Says: "MISCSELECT 0x1"},
		{Name: "in 32-bit mode it may", issue: func(i *simulated.Issuance) { i.QE.Attributes.Flags &^= sgx.FlagMode64Bit }},
		{Name: "the identity of another enclave of Intel's", issue: func(i *simulated.Issuance) { i.QEIdentity.ID = "QVE" }, Failed: []string{"QE identity", "quoting enclave", "TCB status"}, Says: `it is of "QVE"`},

		// 2: revocation lists that are not looked at.
		{Name: "lists swapped", change: func(_ *quote.Quote, c *attest.Collateral) { c.RootCRL, c.PCKCRL = c.PCKCRL, c.RootCRL },
			Failed: []string{"root CRL", "PCK CRL", "revocation"}, Says: `it is of "SIMULATED (NOT INTEL) SGX PCK Processor CA"`},
		{Name: "garbage for a list", change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = []byte("garbage") }, Failed: []string{"PCK CRL", "revocation"}},
		{Name: "a list with its signature damaged", change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL[len(c.PCKCRL)-1] ^= 1 }, Failed: []string{"PCK CRL", "revocation"}, Says: "it is not signed by"},
		{Name: "a list with something behind it", change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = append(c.PCKCRL, 0) }, Failed: []string{"PCK CRL", "revocation"}},
		{Name: "a list of somebody of the same name", issue: func(i *simulated.Issuance) { i.PCKCRL.ExtraExtensions = nil },
			change: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = stranger("PCKCA").PCKCRL }, Failed: []string{"PCK CRL", "revocation"}, Says: "it is not signed by"},
		{Name: "a list of the changes only", issue: func(i *simulated.Issuance) {
			i.PCKCRL.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}, Failed: []string{"PCK CRL", "revocation"}, Says: "critical extension"},
		{Name: "an expired list", issue: func(i *simulated.Issuance) {
			i.PCKCRL.NextUpdate = Today().Add(-time.Hour)
			i.PCKCRL.ThisUpdate = day(2026, 5, 1)
		},
			Failed: []string{"collateral valid"}, Says: "the PCK CRL"},
		{Name: "an expired list of the root", issue: func(i *simulated.Issuance) {
			i.RootCRL.NextUpdate = Today().Add(-time.Hour)
			i.RootCRL.ThisUpdate = day(2025, 5, 1)
		},
			Failed: []string{"collateral valid"}, Says: "the root CRL"},
		{Name: "a list from the future", issue: func(i *simulated.Issuance) { i.PCKCRL.ThisUpdate = Today().Add(25 * time.Hour) }, Failed: []string{"collateral valid"}, Says: "the PCK CRL"},

		// 3 and 9: revocation that is looked at the wrong way round, or not at all.
		{Name: "the PCK is revoked", issue: func(i *simulated.Issuance) { revoke(i.PCKCRL, i.PCK) }, Failed: []string{"revocation"}, Says: "SGX PCK Certificate"},
		{Name: "its CA is revoked", issue: func(i *simulated.Issuance) { revoke(i.RootCRL, i.PCKCA) }, Failed: []string{"revocation"}, Says: "SGX PCK Processor CA"},
		{Name: "the signer of the TCB info is revoked", issue: func(i *simulated.Issuance) { revoke(i.RootCRL, i.TCBSigner) }, Failed: []string{"revocation"}, Says: "SGX TCB Signing"},
		{Name: "another PCK is revoked", issue: func(i *simulated.Issuance) { revoke(i.PCKCRL, i.TCBSigner) }},

		// 4: security versions that are compared for equality.
		{Name: "a platform that is ahead", issue: func(i *simulated.Issuance) { i.Extension.Components[3]++; i.Extension.PCESVN++ }},
		{Name: "a platform that is behind", issue: func(i *simulated.Issuance) { i.Extension.Components[0]-- }, Failed: []string{"TCB status"}, Says: "OutOfDate, which is not accepted"},
		{Name: "behind in one and ahead in another", issue: func(i *simulated.Issuance) { i.Extension.Components[0]--; i.Extension.Components[5]++ }, Failed: []string{"TCB status"}, Says: "OutOfDate"},
		{Name: "with an old PCE", issue: func(i *simulated.Issuance) { i.Extension.PCESVN-- }, Failed: []string{"TCB status"}, Says: "reaches no TCB level"},
		{Name: "older than all", issue: func(i *simulated.Issuance) { i.Extension.Components[1] = 0 }, Failed: []string{"TCB status"}, Says: "reaches no TCB level"},
		{Name: "a QE that is behind", issue: func(i *simulated.Issuance) { i.QE.ISVSVN-- }, Failed: []string{"TCB status"}, Says: "OutOfDate"},
		{Name: "a QE older than all", issue: func(i *simulated.Issuance) { i.QE.ISVSVN = 1 }, Failed: []string{"TCB status"}, Says: "lower than all"},
		{Name: "levels in another order", issue: func(i *simulated.Issuance) {
			l := i.TCBInfo.TCBLevels
			l[0], l[1] = l[1], l[0]
		}},
		{Name: "a level twice", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels = append(i.TCBInfo.TCBLevels, i.TCBInfo.TCBLevels[0]) },
			Failed: []string{"TCB info", "TCB status"}, Says: "a TCB level twice"},
		{Name: "no levels", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels = nil }, Failed: []string{"TCB info", "TCB status"}, Says: "no TCB levels"},

		// 5: a status that gets lost.
		{Name: "accepted although out of date", issue: func(i *simulated.Issuance) { i.Extension.Components[0]-- }, Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}}},
		{Name: "out of date, and one of its advisories is not accepted", issue: func(i *simulated.Issuance) { i.Extension.Components[0]-- },
			Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}, Advisories: []string{}}, Failed: []string{"advisories"}, Says: "SIMULATED-SA-00001"},
		{Name: "a revoked level", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels[0].TCBStatus = "Revoked" }, Failed: []string{"TCB status"}, Says: "Revoked"},
		{Name: "a revoked QE", issue: func(i *simulated.Issuance) { i.QEIdentity.TCBLevels[0].TCBStatus = "Revoked" }, Failed: []string{"TCB status"}, Says: "Revoked"},
		{Name: "an unknown status", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels[0].TCBStatus = "Fine" }, Failed: []string{"TCB info", "TCB status"}, Says: `"Fine" is no TCB status`},
		{Name: "no status", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBLevels[0].TCBStatus = "" }, Failed: []string{"TCB info", "TCB status"}},

		// 6: dates that are not looked at.
		{Name: "expired TCB info", issue: func(i *simulated.Issuance) { i.TCBInfo.NextUpdate = Today().Add(-time.Second) }, Failed: []string{"collateral valid"}, Says: "the TCB info is valid from"},
		{Name: "expired identity", issue: func(i *simulated.Issuance) { i.QEIdentity.NextUpdate = Today().Add(-time.Second) }, Failed: []string{"collateral valid"}, Says: "the QE identity is valid from"},
		{Name: "TCB info from the future", issue: func(i *simulated.Issuance) { i.TCBInfo.IssueDate = Today().Add(25 * time.Hour) }, Failed: []string{"collateral valid"}, Says: "the TCB info"},
		{Name: "issued by a clock that is ahead", issue: func(i *simulated.Issuance) { i.TCBInfo.IssueDate = Today().Add(23 * time.Hour) }},
		{Name: "an expired PCK", issue: func(i *simulated.Issuance) { i.PCK.Template.NotAfter = day(2026, 5, 31) }, Failed: []string{"certificates valid"}},
		{Name: "a PCK from the future", issue: func(i *simulated.Issuance) { i.PCK.Template.NotBefore = day(2026, 6, 2) }, Failed: []string{"certificates valid"}},
		{Name: "an expired CA", issue: func(i *simulated.Issuance) { i.PCKCA.Template.NotAfter = day(2026, 5, 31) }, Failed: []string{"certificates valid"}},
		{Name: "an expired signer", issue: func(i *simulated.Issuance) { i.TCBSigner.Template.NotAfter = day(2026, 5, 31) }, Failed: []string{"collateral valid"}, Says: "SGX TCB Signing"},
		{Name: "after all of it", At: day(2060, 1, 1), Failed: []string{"certificates valid", "collateral valid"}},

		// 8: collateral that is not signed by whom it should be.
		{Name: "TCB info without a signature", change: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoSignature = quote.Signature{} },
			Failed: []string{"TCB info", "TCB status"}, Says: "it was changed"},
		{Name: "changed TCB info", change: func(_ *quote.Quote, c *attest.Collateral) {
			c.TCBInfo = strings.Replace(c.TCBInfo, "OutOfDate", "UpToDate", 1)
		},
			Failed: []string{"TCB info", "TCB status"}, Says: "it was changed"},
		{Name: "changed identity", change: func(_ *quote.Quote, c *attest.Collateral) { c.QEIdentity += " " }, Failed: []string{"QE identity", "quoting enclave", "TCB status"}, Says: "it was changed"},
		{Name: "signed by the owner of the platform", change: func(_ *quote.Quote, c *attest.Collateral) {
			own := stranger("TCBSigner")
			c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain = own.TCBInfo, own.TCBInfoSignature, own.TCBInfoIssuerChain
		}, Failed: []string{"TCB info", "TCB status"}, Says: "is not signed by"},
		{Name: "all of it signed by the owner of the platform", change: func(_ *quote.Quote, c *attest.Collateral) {
			own := stranger("TCBSigner")
			own.QEIdentityIssuerChain = own.TCBInfoIssuerChain
			*c = *own
		}, Failed: []string{"TCB info", "QE identity", "quoting enclave", "TCB status"}, Says: "is not signed by"},
		{Name: "signed by somebody below another root", change: func(_ *quote.Quote, c *attest.Collateral) {
			own := stranger("Root")
			c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain = own.TCBInfo, own.TCBInfoSignature, own.TCBInfoIssuerChain
		}, Failed: []string{"TCB info", "TCB status"}, Says: "which is not the root"},
		{Name: "signed by a PCK", issue: func(i *simulated.Issuance) { i.TCBSigner.Template.Subject.CommonName = "SGX PCK Certificate" },
			Failed: []string{"TCB info", "QE identity", "quoting enclave", "TCB status"}, Says: "is not the certificate of a signer"},
		{Name: "signed by a CA", issue: func(i *simulated.Issuance) { i.TCBSigner.Template.IsCA = true },
			Failed: []string{"TCB info", "QE identity", "quoting enclave", "TCB status"}, Says: "is not the certificate of a signer"},
		{Name: "without a signer", change: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoIssuerChain = "nobody" }, Failed: []string{"TCB info", "TCB status"}, Says: "certificate 1 is not complete PEM"},
		{Name: "signed as it is, and not as it should look", change: func(_ *quote.Quote, c *attest.Collateral) {
			c.TCBInfo = strings.ReplaceAll(c.TCBInfo, ",", ",\n  ")
			c.TCBInfoSignature = must(newIssuance().TCBSigner.Sign([]byte(c.TCBInfo)))
		}},

		// 10: collateral of another evaluation.
		{Name: "an old evaluation", Policy: attest.Policy{MinEvaluationDataNumber: 18}, Failed: []string{"evaluation data number"}, Says: "17, which is lower than 18"},
		{Name: "an old evaluation of the QE", issue: func(i *simulated.Issuance) { i.QEIdentity.TCBEvaluationDataNumber = 16 },
			Policy: attest.Policy{MinEvaluationDataNumber: 17}, Failed: []string{"evaluation data number"}, Says: "16"},
		{Name: "TCB info of an API that has ended", issue: func(i *simulated.Issuance) { i.TCBInfo.Version = 2 }, Failed: []string{"TCB info", "TCB status"}, Says: "version is 2"},
		{Name: "TCB info of trust domains", issue: func(i *simulated.Issuance) { i.TCBInfo.ID = "TDX" }, Failed: []string{"TCB info", "TCB status"}, Says: `it is of "TDX"`},
		{Name: "levels of an unknown type", issue: func(i *simulated.Issuance) { i.TCBInfo.TCBType = 1 }, Failed: []string{"TCB info", "TCB status"}, Says: "tcbType"},

		// 12: collateral of another platform.
		{Name: "another FMSPC", issue: func(i *simulated.Issuance) { i.TCBInfo.FMSPC = "00906ED50000" }, Failed: []string{"TCB status"}, Says: "00906ED50000"},
		{Name: "another PCE", issue: func(i *simulated.Issuance) { i.TCBInfo.PCEID = "0001" }, Failed: []string{"TCB status"}, Says: "0001"},
		{Name: "its own, in small letters", issue: func(i *simulated.Issuance) { i.TCBInfo.FMSPC = strings.ToLower(i.TCBInfo.FMSPC) }},

		// 13: a root that is known by its name.
		{Name: "a root of the same name", issue: func(i *simulated.Issuance) { i.Root.Key = newKey() }, Failed: []string{"trusted root"}, Says: "whose key is not that of a trusted root"},
		{Name: "a CA of the same name", issue: func(i *simulated.Issuance) { i.PCKCA.Key = newKey() },
			change: func(_ *quote.Quote, c *attest.Collateral) {
				*c = *collateral(newIssuance())
			},
			Failed: []string{"PCK CRL", "revocation"}, Says: "it is not signed by"},

		// 14 and 15: what only the caller knows.
		{Name: "an enclave that can be debugged", Enclave: sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}}, Failed: []string{"debug mode"}, Says: "DEBUG"},
		{Name: "one that may be", Enclave: sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}}, Policy: attest.Policy{AllowDebug: true}},
		{Name: "another nonce", Enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, Policy: attest.Policy{ReportData: []byte{1, 3}}, Failed: []string{"report data"}},
		{Name: "more than the nonce", Enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, Policy: attest.Policy{ReportData: []byte{1}}, Failed: []string{"report data"}},
		{Name: "the nonce", Enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, Policy: attest.Policy{ReportData: []byte{1, 2}}},

		// 16: collateral that somebody keeps back.
		{Name: "valid, and too old all the same", Policy: attest.Policy{MaxCollateralAge: 24 * time.Hour}, At: Today().AddDate(0, 0, 2), Failed: []string{"collateral age"}, Says: "2 days ago"},
		{Name: "young enough", Policy: attest.Policy{MaxCollateralAge: 72 * time.Hour}, At: Today().AddDate(0, 0, 2)},
		{Name: "expired, and accepted", issue: func(i *simulated.Issuance) { i.TCBInfo.NextUpdate = Today(); i.QEIdentity.NextUpdate = Today() },
			Policy: attest.Policy{MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, At: Today().AddDate(0, 0, 2)},
		{Name: "expired, and too old", issue: func(i *simulated.Issuance) { i.TCBInfo.NextUpdate = Today() },
			Policy: attest.Policy{MaxCollateralAge: 24 * time.Hour, AcceptExpired: true}, At: Today().AddDate(0, 0, 2), Failed: []string{"collateral age"}},
		{Name: "accepted if expired, but the list is", issue: func(i *simulated.Issuance) { i.PCKCRL.NextUpdate = Today().Add(time.Hour) },
			Policy: attest.Policy{MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, At: Today().AddDate(0, 0, 2), Failed: []string{"collateral valid"}, Says: "the PCK CRL"},

		// 17: platforms that the caller knows to be in good hands.
		{Name: "a platform that is not in the list", issue: func(i *simulated.Issuance) { i.Extension.InstanceID = make([]byte, 16) },
			Policy: attest.Policy{PlatformInstances: []quote.HexBytes{{1}}}, Failed: []string{"platform instance"}},
		{Name: "one that is", issue: func(i *simulated.Issuance) { i.Extension.InstanceID = make([]byte, 16) },
			Policy: attest.Policy{PlatformInstances: []quote.HexBytes{make([]byte, 16)}}},
		{Name: "one that does not tell", Policy: attest.Policy{PlatformInstances: []quote.HexBytes{make([]byte, 16)}}, Failed: []string{"platform instance"}, Says: "does not tell"},
		{Name: "SMT", issue: func(i *simulated.Issuance) { i.Extension.InstanceID, i.Extension.SMT = make([]byte, 16), true },
			Policy: attest.Policy{RefuseSMT: true}, Failed: []string{"SMT"}},
		{Name: "no SMT, but all the rest", issue: func(i *simulated.Issuance) { i.Extension.InstanceID = make([]byte, 16) },
			Policy: attest.Policy{RefuseSMT: true, RefuseCachedKeys: true, RefuseDynamicPlatform: true}, Failed: []string{"dynamic platform", "cached keys"}},

		// 18: numbers that are no signatures, points that are none.
		{Name: "a signature of zeros", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.Signature = quote.Signature{} }, Failed: []string{"quote signature"}},
		{Name: "s is zero", change: func(q *quote.Quote, _ *attest.Collateral) { clear(q.Signature.Signature[32:]) }, Failed: []string{"quote signature"}},
		{Name: "r is zero", change: func(q *quote.Quote, _ *attest.Collateral) { clear(q.Signature.Signature[:32]) }, Failed: []string{"quote signature"}},
		{Name: "r is beyond the group", change: func(q *quote.Quote, _ *attest.Collateral) {
			for i := range 32 {
				q.Signature.Signature[i] = 0xff
			}
		}, Failed: []string{"quote signature"}},
		{Name: "the QE's signature of zeros", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReportSignature = quote.Signature{} }, Failed: []string{"QE report signature"}},
		{Name: "a key off the curve", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.AttestationKey[63] ^= 1 }, Failed: []string{"attestation key binding", "quote signature"}},
		{Name: "a key of zeros", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.AttestationKey = quote.PublicKey{} }, Failed: []string{"attestation key binding", "quote signature"}},

		// What a quote is made of.
		{Name: "another enclave", change: func(q *quote.Quote, _ *attest.Collateral) { q.Enclave.MREnclave[0] ^= 1 }, Failed: []string{"quote signature"}},
		{Name: "another header", change: func(q *quote.Quote, _ *attest.Collateral) { q.Header.QESVN++ }, Failed: []string{"quote signature"}},
		{Name: "another QE", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReport.ISVSVN++ }, Failed: []string{"QE report signature"}},
		{Name: "other auth data", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEAuthData[0] ^= 1 }, Failed: []string{"attestation key binding"}},
		{Name: "the tail of the QE's report data", change: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReport.ReportData[63] = 1 },
			Failed: []string{"QE report signature", "attestation key binding"}},
		{Name: "another vendor", change: func(q *quote.Quote, _ *attest.Collateral) { q.Header.VendorID[0]++ }, Failed: []string{"quote signature", "QE vendor"}},
		{Name: "the chain in another order", change: reorder(0, 2, 1), Failed: []string{"trusted root", "PCK certificate chain", "root CRL", "PCK CRL", "TCB info", "QE identity", "revocation", "quoting enclave", "TCB status"}},
		{Name: "a CA as PCK", change: reorder(1, 1, 2), Failed: []string{"PCK certificate chain", "platform", "QE report signature", "TCB status"}},

		// Which enclave it is.
		{Name: "another MRENCLAVE", Enclave: sgx.ReportBody{MREnclave: sgx.Measurement{1}}, Policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}}, Failed: []string{"MRENCLAVE"}},
		{Name: "one of two", Enclave: sgx.ReportBody{MREnclave: sgx.Measurement{1}}, Policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}, {1}}}},
		{Name: "another MRSIGNER", Enclave: sgx.ReportBody{MRSigner: sgx.Measurement{1}}, Policy: attest.Policy{MRSigners: []sgx.Measurement{{2}}}, Failed: []string{"MRSIGNER"}},
		{Name: "another product, and too old", Enclave: sgx.ReportBody{ISVProdID: 1, ISVSVN: 1},
			Policy: attest.Policy{MRSigners: []sgx.Measurement{{}}, ISVProdID: new(uint16), MinISVSVN: 2}, Failed: []string{"product", "security version"}},
	}
}
