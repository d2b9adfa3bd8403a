package attesttest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Cases returns all cases. Those whose name starts with "valid" have nothing wrong: a
// verifier must accept them. The numbers in the comments are classes of bugs that verifiers
// have had.
func Cases() []Case {
	cases := slices.Concat(quotingEnclaveCases(), revocationCases(), crlExtensionCases(), certificateExtensionCases(), tcbCases(), validityCases(),
		collateralCases(), rootCases(), policyCases(), enclavePolicyCases(), platformPolicyCases(), quoteCases(), tdxCases())
	for i := range cases {
		if cases[i].At.IsZero() {
			cases[i].At = Today()
		}
		// Cases that are about something else accept any enclave.
		if p := &cases[i].Policy; p.MREnclaves == nil && p.MRSigners == nil && p.TrustDomain == nil {
			p.AnyEnclave = true
		}
	}
	return cases
}

// failed returns the checks that must fail.
func failed(names ...attest.CheckName) []attest.CheckName { return names }

// quotingEnclaveCases are about versions of quotes, and quoting enclaves.
func quotingEnclaveCases() []Case {
	return []Case{
		// Versions of quotes.
		{Name: "valid"},
		{Name: "valid, version 4", prepare: func(i *Issuer) { i.Version = quote.Version4 }},
		{Name: "valid, version 5", prepare: func(i *Issuer) { i.Version = quote.Version5 }},
		{Name: "version 4 with version 3 in the header", prepare: func(i *Issuer) { i.Version = quote.Version4 },
			tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Header.Version = quote.Version3 }, Failed: failed(attest.CheckQuoteSignature)},

		// 1: a verifier that does not check the identity of the QE.
		{Name: "another enclave certifies the attestation key", prepare: func(i *Issuer) { i.QE.MRSigner = sgx.Measurement{1} },
			Failed: failed(attest.CheckQuotingEnclave), Detail: "it is not the quoting enclave"},
		{Name: "another product of the QE's signer certifies the attestation key", prepare: func(i *Issuer) { i.QE.ISVProdID = 2 }, Failed: failed(attest.CheckQuotingEnclave), Detail: "product 2"},
		{Name: "QE in debug mode", prepare: func(i *Issuer) { i.QE.Attributes.Flags |= sgx.FlagDebug }, Failed: failed(attest.CheckQuotingEnclave), Detail: "attributes"},
		{Name: "QE with MISCSELECT", prepare: func(i *Issuer) { i.QE.MiscSelect = 1 }, Failed: failed(attest.CheckQuotingEnclave), Detail: "MISCSELECT 0x1"},
		{Name: "valid, QE in 32-bit mode", prepare: func(i *Issuer) { i.QE.Attributes.Flags &^= sgx.FlagMode64Bit }},
		{Name: "identity of another enclave", prepare: func(i *Issuer) { i.QEIdentity.ID = "QVE" }, Failed: failed(attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: `id is "QVE"`},
	}
}

// revocationCases are about CRLs and revocation.
func revocationCases() []Case {
	today := Today()
	return []Case{
		// 2: one that does not check CRLs.
		{Name: "CRLs swapped", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.RootCRL, c.PCKCRL = c.PCKCRL, c.RootCRL },
			Failed: failed(attest.CheckRootCRL, attest.CheckPCKCRL, attest.CheckRevocation), Detail: `it is not issued by "SIMULATED (NOT INTEL) SGX PCK Processor CA"`},
		{Name: "PCK CRL is garbage", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = []byte("garbage") }, Failed: failed(attest.CheckPCKCRL, attest.CheckRevocation)},
		{Name: "PCK CRL with a damaged signature", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL[len(c.PCKCRL)-1] ^= 1 }, Failed: failed(attest.CheckPCKCRL, attest.CheckRevocation), Detail: "signature verification failed"},
		{Name: "PCK CRL followed by a byte", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = append(c.PCKCRL, 0) }, Failed: failed(attest.CheckPCKCRL, attest.CheckRevocation)},
		{Name: "PCK CRL of another CA with the same name", prepare: func(i *Issuer) { i.PCKCRL.ExtraExtensions = nil },
			forge: func(_ *Issuer, _ *quote.Quote, c *attest.Collateral) error {
				own, err := forged(func(i *Issuer) { i.PCKCA.Key = i.forger })
				c.PCKCRL = own.PCKCRL
				return err
			}, Failed: failed(attest.CheckPCKCRL, attest.CheckRevocation), Detail: "signature verification failed"},
		{Name: "expired PCK CRL", prepare: func(i *Issuer) {
			i.PCKCRL.NextUpdate = today.Add(-time.Hour)
			i.PCKCRL.ThisUpdate = day(2026, 5, 1)
		},
			Failed: failed(attest.CheckCollateralValid), Detail: "the PCK CRL"},
		{Name: "expired root CRL", prepare: func(i *Issuer) {
			i.RootCRL.NextUpdate = today.Add(-time.Hour)
			i.RootCRL.ThisUpdate = day(2025, 5, 1)
		},
			Failed: failed(attest.CheckCollateralValid), Detail: "the root CRL"},
		{Name: "PCK CRL from the future", prepare: func(i *Issuer) { i.PCKCRL.ThisUpdate = today.Add(25 * time.Hour) }, Failed: failed(attest.CheckCollateralValid), Detail: "the PCK CRL"},

		// 3 and 9: one that checks revocation against the wrong CRL, or not at all.
		{Name: "revoked PCK certificate", prepare: func(i *Issuer) { revoke(i.PCKCRL, i.PCK) }, Failed: failed(attest.CheckRevocation), Detail: "SGX PCK Certificate"},
		{Name: "revoked PCK CA", prepare: func(i *Issuer) { revoke(i.RootCRL, i.PCKCA) }, Failed: failed(attest.CheckRevocation), Detail: "SGX PCK Processor CA"},
		{Name: "revoked TCB signing certificate", prepare: func(i *Issuer) { revoke(i.RootCRL, i.TCBSigner) }, Failed: failed(attest.CheckRevocation), Detail: "SGX TCB Signing"},
		{Name: "valid, another PCK certificate is revoked", prepare: func(i *Issuer) { revoke(i.PCKCRL, i.TCBSigner) }},
	}
}

// The extensions of the cases below, as in RFC 5280, sections 4.2 and 5.2.
func unknownExtension(critical bool) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: critical, Value: []byte{5, 0}}
}

func standardExtension(number int, critical bool, value ...byte) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, number}, Critical: critical, Value: value}
}

// crlExtensionCases are about CRLs that are valid for something else than all certificates
// of their issuer, and which the verifier must not take for complete.
func crlExtensionCases() []Case {
	withExtension := func(e pkix.Extension) func(*Issuer) {
		return func(i *Issuer) { i.PCKCRL.ExtraExtensions = []pkix.Extension{e} }
	}
	withEntry := func(e pkix.Extension) func(*Issuer) {
		return func(i *Issuer) {
			i.PCKCRL.RevokedCertificateEntries = []x509.RevocationListEntry{{
				SerialNumber: i.TCBSigner.Template.SerialNumber, RevocationTime: day(2026, time.May, 1), ExtraExtensions: []pkix.Extension{e},
			}}
		}
	}
	broken := failed(attest.CheckPCKCRL, attest.CheckRevocation)
	return []Case{
		// 19: one that ignores what a CRL is about.
		{Name: "PCK CRL is a delta CRL", prepare: withExtension(standardExtension(27, true, 2, 1, 1)), Failed: broken, Detail: "delta CRL indicator"},
		{Name: "PCK CRL is a delta CRL, not critical", prepare: withExtension(standardExtension(27, false, 2, 1, 1)), Failed: broken, Detail: "delta CRL indicator"},
		{Name: "PCK CRL of CA certificates only", prepare: withExtension(standardExtension(28, true, 0x30, 3, 0x82, 1, 0xff)), Failed: broken, Detail: "issuing distribution point"},
		{Name: "PCK CRL of some reasons only", prepare: withExtension(standardExtension(28, true, 0x30, 4, 0x83, 2, 6, 0x40)), Failed: broken, Detail: "issuing distribution point"},
		{Name: "PCK CRL is an indirect CRL", prepare: withExtension(standardExtension(28, true, 0x30, 3, 0x84, 1, 0xff)), Failed: broken, Detail: "issuing distribution point"},
		{Name: "PCK CRL of attribute certificates only, not critical", prepare: withExtension(standardExtension(28, false, 0x30, 3, 0x85, 1, 0xff)), Failed: broken, Detail: "issuing distribution point"},
		{Name: "PCK CRL with an unknown critical extension", prepare: withExtension(unknownExtension(true)), Failed: broken, Detail: "unknown critical extension 1.2.3.4"},
		{Name: "valid, PCK CRL with an unknown extension", prepare: withExtension(unknownExtension(false))},
		{Name: "PCK CRL with an entry of another issuer", prepare: withEntry(standardExtension(29, true, 0x30, 0)), Failed: broken, Detail: "certificate issuer"},
		{Name: "PCK CRL with an entry of another issuer, not critical", prepare: withEntry(standardExtension(29, false, 0x30, 0)), Failed: broken, Detail: "certificate issuer"},
		{Name: "PCK CRL with an unknown critical extension of an entry", prepare: withEntry(unknownExtension(true)), Failed: broken, Detail: "unknown critical extension 1.2.3.4"},
		{Name: "root CRL is a delta CRL", prepare: func(i *Issuer) {
			i.RootCRL.ExtraExtensions = []pkix.Extension{standardExtension(27, true, 2, 1, 1)}
		}, Failed: failed(attest.CheckRootCRL, attest.CheckRevocation), Detail: "delta CRL indicator"},
		{Name: "revoked PCK certificate, removed by a delta CRL", prepare: func(i *Issuer) {
			revoke(i.PCKCRL, i.PCK)
			i.PCKCRL.RevokedCertificateEntries[0].ReasonCode = 8 // removeFromCRL, for delta CRLs only
		}, Failed: failed(attest.CheckRevocation), Detail: "SGX PCK Certificate"},
	}
}

// certificateExtensionCases are about certificates that are valid for something else than
// what the proof needs.
func certificateExtensionCases() []Case {
	serverAuth := standardExtension(37, false, 0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1)
	names := standardExtension(30, false, 0x30, 0x0f, 0xa0, 0x0d, 0x30, 0x0b, 0x82, 9, 'x', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e')
	policies := standardExtension(36, false, 0x30, 3, 0x80, 1, 0)
	extensions := []struct {
		name      string
		extension pkix.Extension
		detail    string
	}{
		{"an unknown critical extension", unknownExtension(true), "unknown critical extension 1.2.3.4"},
		{"an extended key usage", serverAuth, "extended key usage"},
		{"a critical extended key usage", critical(serverAuth), "extended key usage"},
		{"name constraints", names, "name constraints"},
		{"critical name constraints", critical(names), "name constraints"},
		{"policy constraints", policies, "policy constraints"},
		{"critical policy constraints", critical(policies), "policy constraints"},
	}
	var cases []Case
	for _, certificate := range []struct {
		name   string
		of     func(*Issuer) Authority
		failed []attest.CheckName
	}{
		{"root certificate", func(i *Issuer) Authority { return i.Root }, failed(attest.CheckPCKChain)},
		{"PCK CA", func(i *Issuer) Authority { return i.PCKCA }, failed(attest.CheckPCKChain)},
		{"PCK certificate", func(i *Issuer) Authority { return i.PCK }, failed(attest.CheckPCKChain)},
		{"TCB signing certificate", func(i *Issuer) Authority { return i.TCBSigner }, failed(attest.CheckTCBInfo, attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus)},
	} {
		add := func(e pkix.Extension) func(*Issuer) {
			return func(i *Issuer) {
				template := certificate.of(i).Template
				template.ExtraExtensions = append(template.ExtraExtensions, e)
			}
		}
		// 20: one that does not enforce what a certificate is valid for.
		for _, e := range extensions {
			cases = append(cases, Case{Name: certificate.name + " with " + e.name, prepare: add(e.extension), Failed: certificate.failed, Detail: e.detail})
		}
		cases = append(cases, Case{Name: "valid, " + certificate.name + " with an unknown extension", prepare: add(unknownExtension(false))})
	}
	return cases
}

func critical(e pkix.Extension) pkix.Extension {
	e.Critical = true
	return e
}

// tcbCases are about TCB levels and statuses.
func tcbCases() []Case {
	return []Case{
		// 4: one that compares security versions for equality.
		{Name: "valid, platform newer than all levels", prepare: func(i *Issuer) { i.Extension.Components[3]++; i.Extension.PCESVN++ }},
		{Name: "platform out of date", prepare: func(i *Issuer) { i.Extension.Components[0]-- }, Failed: failed(attest.CheckTCBStatus), Detail: "OutOfDate, which the policy does not accept"},
		{Name: "platform out of date in one component, newer in another", prepare: func(i *Issuer) { i.Extension.Components[0]--; i.Extension.Components[5]++ }, Failed: failed(attest.CheckTCBStatus), Detail: "OutOfDate"},
		{Name: "PCE older than all levels", prepare: func(i *Issuer) { i.Extension.PCESVN-- }, Failed: failed(attest.CheckTCBStatus), Detail: "reaches no TCB level"},
		{Name: "platform older than all levels", prepare: func(i *Issuer) { i.Extension.Components[1] = 0 }, Failed: failed(attest.CheckTCBStatus), Detail: "reaches no TCB level"},
		{Name: "QE out of date", prepare: func(i *Issuer) { i.QE.ISVSVN-- }, Failed: failed(attest.CheckTCBStatus), Detail: "OutOfDate"},
		{Name: "QE older than all levels", prepare: func(i *Issuer) { i.QE.ISVSVN = 1 }, Failed: failed(attest.CheckTCBStatus), Detail: "lower than all"},
		{Name: "valid, TCB levels in another order", prepare: func(i *Issuer) {
			l := i.TCBInfo.TCBLevels
			l[0], l[1] = l[1], l[0]
		}},
		{Name: "TCB level twice", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels = append(i.TCBInfo.TCBLevels, i.TCBInfo.TCBLevels[0]) },
			Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "duplicate TCB level"},
		{Name: "no TCB levels", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels = nil }, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "want an array"},

		// 5: one that loses a status on the way.
		{Name: "valid, out of date and accepted", prepare: func(i *Issuer) { i.Extension.Components[0]-- }, Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}}},
		{Name: "out of date and accepted, but not its advisory", prepare: func(i *Issuer) { i.Extension.Components[0]-- },
			Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}, Advisories: []string{}}, Failed: failed(attest.CheckAdvisories), Detail: "SIMULATED-SA-00001"},
		{Name: "revoked TCB level", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels[0].TCBStatus = "Revoked" }, Failed: failed(attest.CheckTCBStatus), Detail: "Revoked"},
		{Name: "revoked QE level", prepare: func(i *Issuer) { i.QEIdentity.TCBLevels[0].TCBStatus = "Revoked" }, Failed: failed(attest.CheckTCBStatus), Detail: "Revoked"},
		{Name: "unknown TCB status", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels[0].TCBStatus = "Fine" }, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: `unknown TCB status "Fine"`},
		{Name: "TCB level without a status", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels[0].TCBStatus = "" }, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus)},
	}
}

// validityCases are about dates.
func validityCases() []Case {
	today := Today()
	return []Case{
		// 6: one that does not check dates.
		{Name: "expired TCB info", prepare: func(i *Issuer) { i.TCBInfo.NextUpdate = today.Add(-time.Second) }, Failed: failed(attest.CheckCollateralValid), Detail: "the TCB info is valid from"},
		{Name: "expired QE identity", prepare: func(i *Issuer) { i.QEIdentity.NextUpdate = today.Add(-time.Second) }, Failed: failed(attest.CheckCollateralValid), Detail: "the QE identity is valid from"},
		{Name: "TCB info from the future", prepare: func(i *Issuer) { i.TCBInfo.IssueDate = today.Add(25 * time.Hour) }, Failed: failed(attest.CheckCollateralValid), Detail: "the TCB info"},
		{Name: "valid, issued by a clock that is ahead", prepare: func(i *Issuer) { i.TCBInfo.IssueDate = today.Add(23 * time.Hour) }},
		{Name: "expired PCK certificate", prepare: func(i *Issuer) { i.PCK.Template.NotAfter = day(2026, 5, 31) }, Failed: failed(attest.CheckCertificatesValid)},
		{Name: "PCK certificate from the future", prepare: func(i *Issuer) { i.PCK.Template.NotBefore = day(2026, 6, 2) }, Failed: failed(attest.CheckCertificatesValid)},
		{Name: "expired PCK CA", prepare: func(i *Issuer) { i.PCKCA.Template.NotAfter = day(2026, 5, 31) }, Failed: failed(attest.CheckCertificatesValid)},
		{Name: "expired TCB signing certificate", prepare: func(i *Issuer) { i.TCBSigner.Template.NotAfter = day(2026, 5, 31) }, Failed: failed(attest.CheckCollateralValid), Detail: "SGX TCB Signing"},
		{Name: "everything expired", At: day(2060, 1, 1), Failed: failed(attest.CheckCertificatesValid, attest.CheckCollateralValid)},
	}
}

// collateralCases are about the content of collateral, and who signed it.
func collateralCases() []Case {
	return []Case{
		// 8: one that does not check who signed collateral.
		{Name: "TCB info without a signature", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoSignature = quote.Signature{} },
			Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "signature verification failed"},
		{Name: "modified TCB info", tamper: func(_ *quote.Quote, c *attest.Collateral) {
			c.TCBInfo = strings.Replace(c.TCBInfo, "OutOfDate", "UpToDate", 1)
		},
			Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "signature verification failed"},
		{Name: "modified QE identity", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.QEIdentity += " " }, Failed: failed(attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "signature verification failed"},
		{Name: "TCB info signed by a forger", forge: func(_ *Issuer, _ *quote.Quote, c *attest.Collateral) error {
			own, err := selfIssued()
			c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain = own.TCBInfo, own.TCBInfoSignature, own.TCBInfoIssuerChain
			return err
		}, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "is not signed by"},
		{Name: "all collateral signed by a forger", forge: func(_ *Issuer, _ *quote.Quote, c *attest.Collateral) error {
			own, err := selfIssued()
			own.QEIdentityIssuerChain = own.TCBInfoIssuerChain
			*c = *own
			return err
		}, Failed: failed(attest.CheckTCBInfo, attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "is not signed by"},
		{Name: "TCB info signed under another root", forge: func(_ *Issuer, _ *quote.Quote, c *attest.Collateral) error {
			own, err := forged(func(i *Issuer) { i.Root.Key = i.forger })
			c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain = own.TCBInfo, own.TCBInfoSignature, own.TCBInfoIssuerChain
			return err
		}, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "which is not the root"},
		{Name: "collateral signed by a PCK certificate", prepare: func(i *Issuer) { i.TCBSigner.Template.Subject.CommonName = "SGX PCK Certificate" },
			Failed: failed(attest.CheckTCBInfo, attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "is not a TCB signing certificate"},
		{Name: "collateral signed by a CA", prepare: func(i *Issuer) { i.TCBSigner.Template.IsCA = true },
			Failed: failed(attest.CheckTCBInfo, attest.CheckQEIdentity, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "is not a TCB signing certificate"},
		{Name: "TCB info without an issuer chain", tamper: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoIssuerChain = "nobody" }, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "certificate 1: not complete PEM"},
		{Name: "valid, TCB info with white space", forge: func(i *Issuer, _ *quote.Quote, c *attest.Collateral) (err error) {
			c.TCBInfo = strings.ReplaceAll(c.TCBInfo, ",", ",\n  ")
			c.TCBInfoSignature, err = i.TCBSigner.Sign([]byte(c.TCBInfo))
			return err
		}},

		// 10: one that accepts collateral of another TCB evaluation or of an unknown kind.
		{Name: "evaluation data number too low", Policy: attest.Policy{MinEvaluationDataNumber: 18}, Failed: failed(attest.CheckEvaluationDataNumber), Detail: "17, want at least 18"},
		{Name: "evaluation data number of the QE identity too low", prepare: func(i *Issuer) { i.QEIdentity.TCBEvaluationDataNumber = 16 },
			Policy: attest.Policy{MinEvaluationDataNumber: 17}, Failed: failed(attest.CheckEvaluationDataNumber), Detail: "16"},
		{Name: "TCB info of an obsolete version", prepare: func(i *Issuer) { i.TCBInfo.Version = 2 }, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "version is 2"},
		{Name: "TCB levels of an unknown type", prepare: func(i *Issuer) { i.TCBInfo.TCBType = 1 }, Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "tcbType"},

		// 12: one that accepts collateral of another platform.
		{Name: "TCB info of another FMSPC", prepare: func(i *Issuer) { i.TCBInfo.FMSPC = "00906ED50000" }, Failed: failed(attest.CheckCollateralPlatform, attest.CheckTCBStatus), Detail: "00906ED50000"},
		{Name: "TCB info of another PCE", prepare: func(i *Issuer) { i.TCBInfo.PCEID = "0001" }, Failed: failed(attest.CheckCollateralPlatform, attest.CheckTCBStatus), Detail: "0001"},
		{Name: "valid, FMSPC in lower case", prepare: func(i *Issuer) { i.TCBInfo.FMSPC = strings.ToLower(i.TCBInfo.FMSPC) }},
	}
}

// rootCases are about roots and CAs.
func rootCases() []Case {
	return []Case{
		// 13: one that identifies a root by its name.
		{Name: "another root with the same name", prepare: func(i *Issuer) { i.Root.Key = i.forger }, Failed: failed(attest.CheckTrustedRoot), Detail: "whose key is not that of a trusted root"},
		{Name: "another PCK CA with the same name", prepare: func(i *Issuer) { i.PCKCA.Key = i.forger },
			forge: func(_ *Issuer, _ *quote.Quote, c *attest.Collateral) error {
				genuine, err := forged(func(*Issuer) {})
				*c = *genuine
				return err
			},
			Failed: failed(attest.CheckPCKCRL, attest.CheckRevocation), Detail: "signature verification failed"},
	}
}

// policyCases are about appraisal policies.
func policyCases() []Case {
	today := Today()
	other16 := make([]byte, 16)
	other16[0] = 1
	return []Case{
		// 14 and 15: one that does not ask what only the caller knows.
		{Name: "enclave in debug mode", Enclave: sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}}, Failed: failed(attest.CheckDebugMode), Detail: "DEBUG"},
		{Name: "valid, enclave in debug mode and accepted", Enclave: sgx.ReportBody{Attributes: sgx.Attributes{Flags: sgx.FlagDebug}}, Policy: attest.Policy{AllowDebug: true}},
		{Name: "another nonce", Enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, Policy: attest.Policy{ReportData: []byte{1, 3}}, Failed: failed(attest.CheckReportData)},
		{Name: "more report data than the nonce", Enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, Policy: attest.Policy{ReportData: []byte{1}}, Failed: failed(attest.CheckReportData)},
		{Name: "valid, the expected nonce", Enclave: sgx.ReportBody{ReportData: sgx.ReportData{1, 2}}, Policy: attest.Policy{ReportData: []byte{1, 2}}},

		// 16: one that accepts old collateral, which an attacker replays.
		{Name: "collateral valid but too old", Policy: attest.Policy{MaxCollateralAge: 24 * time.Hour}, At: today.AddDate(0, 0, 2), Failed: failed(attest.CheckCollateralAge), Detail: "2 days ago"},
		{Name: "valid, collateral recent enough", Policy: attest.Policy{MaxCollateralAge: 72 * time.Hour}, At: today.AddDate(0, 0, 2)},
		{Name: "valid, collateral expired and accepted", prepare: func(i *Issuer) { i.TCBInfo.NextUpdate = today; i.QEIdentity.NextUpdate = today },
			Policy: attest.Policy{MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, At: today.AddDate(0, 0, 2)},
		{Name: "collateral expired and accepted, but too old", prepare: func(i *Issuer) { i.TCBInfo.NextUpdate = today },
			Policy: attest.Policy{MaxCollateralAge: 24 * time.Hour, AcceptExpired: true}, At: today.AddDate(0, 0, 2), Failed: failed(attest.CheckCollateralAge)},
		{Name: "expired CRL although expired collateral is accepted", prepare: func(i *Issuer) { i.PCKCRL.NextUpdate = today.Add(time.Hour) },
			Policy: attest.Policy{MaxCollateralAge: 72 * time.Hour, AcceptExpired: true}, At: today.AddDate(0, 0, 2), Failed: failed(attest.CheckCollateralValid), Detail: "the PCK CRL"},

		// 17: one that cannot restrict the platforms.
		{Name: "another platform instance", prepare: func(i *Issuer) { i.Extension.InstanceID = make([]byte, 16) },
			Policy: attest.Policy{PlatformInstances: []quote.HexBytes{other16}}, Failed: failed(attest.CheckPlatformInstance)},
		{Name: "valid, an accepted platform instance", prepare: func(i *Issuer) { i.Extension.InstanceID = make([]byte, 16) },
			Policy: attest.Policy{PlatformInstances: []quote.HexBytes{make([]byte, 16)}}},
		{Name: "platform without an instance ID", Policy: attest.Policy{PlatformInstances: []quote.HexBytes{make([]byte, 16)}}, Failed: failed(attest.CheckPlatformInstance), Detail: "no platform instance ID"},
		{Name: "SMT refused", prepare: func(i *Issuer) { i.Extension.InstanceID, i.Extension.SMT = make([]byte, 16), true },
			Policy: attest.Policy{RefuseSMT: true}, Failed: failed(attest.CheckSMT)},
		{Name: "dynamic platform and cached keys refused", prepare: func(i *Issuer) { i.Extension.InstanceID = make([]byte, 16) },
			Policy: attest.Policy{RefuseSMT: true, RefuseCachedKeys: true, RefuseDynamicPlatform: true}, Failed: failed(attest.CheckDynamicPlatform, attest.CheckCachedKeys)},

		// Identity of the enclave.
		{Name: "another MRENCLAVE", Enclave: sgx.ReportBody{MREnclave: sgx.Measurement{1}}, Policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}}, Failed: failed(attest.CheckMREnclave)},
		{Name: "valid, one of two MRENCLAVEs", Enclave: sgx.ReportBody{MREnclave: sgx.Measurement{1}}, Policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}, {1}}}},
		{Name: "another MRSIGNER", Enclave: sgx.ReportBody{MRSigner: sgx.Measurement{1}}, Policy: attest.Policy{MRSigners: []sgx.Measurement{{2}}}, Failed: failed(attest.CheckMRSigner)},
		{Name: "another product with too low a security version", Enclave: sgx.ReportBody{ISVProdID: 1, ISVSVN: 1},
			Policy: attest.Policy{MRSigners: []sgx.Measurement{{}}, ISVProdID: new(uint16), MinISVSVN: 2}, Failed: failed(attest.CheckProduct, attest.CheckSecurityVersion)},
	}
}

// enclavePolicyCases are about fields of enclaves other than the usual ones. Each breaks one
// requirement of a policy that has all of them.
func enclavePolicyCases() []Case {
	enclave := sgx.ReportBody{
		MRSigner: sgx.Measurement{1}, ISVExtProdID: sgx.ID16{2}, ISVFamilyID: sgx.ID16{3}, ConfigID: sgx.ConfigID{4}, ConfigSVN: 5,
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit | sgx.FlagKSS, XFRM: 0xe7}, MiscSelect: 1,
	}
	policy := attest.Policy{
		MRSigners:     []sgx.Measurement{{1}},
		ISVExtProdIDs: []sgx.ID16{{9}, {2}}, ISVFamilyIDs: []sgx.ID16{{3}}, ConfigIDs: []sgx.ConfigID{{4}}, MinConfigSVN: 5,
		Attributes: &attest.Masked{Value: attest.Bits(sgx.FlagKSS), Mask: attest.Bits(sgx.FlagKSS | sgx.FlagProvisionKey)},
		XFRM:       &attest.Masked{Value: 0x3, Mask: 0xfffffffffffc0003},
		MiscSelect: &attest.Masked{Value: 0, Mask: 0xfffffffe},
	}
	cases := []Case{{Name: "valid, all requirements of an enclave", Enclave: enclave, Policy: policy}}
	for _, c := range []struct {
		check  attest.CheckName
		change func(*sgx.ReportBody)
		detail string
	}{
		{attest.CheckExtendedProduct, func(e *sgx.ReportBody) { e.ISVExtProdID[15] = 1 }, "which the policy does not accept"},
		{attest.CheckEnclaveFamily, func(e *sgx.ReportBody) { e.ISVFamilyID = sgx.ID16{} }, "which the policy does not accept"},
		{attest.CheckConfigID, func(e *sgx.ReportBody) { e.ConfigID[63] = 1 }, "which the policy does not accept"},
		{attest.CheckConfigSVN, func(e *sgx.ReportBody) { e.ConfigSVN-- }, "4 of the configuration, want at least 5"},
		{attest.CheckAttributes, func(e *sgx.ReportBody) { e.Attributes.Flags |= sgx.FlagProvisionKey }, "want 0x80"},
		{attest.CheckXFRM, func(e *sgx.ReportBody) { e.Attributes.XFRM |= 0x40000 }, "want 0x3"},
		{attest.CheckMiscSelect, func(e *sgx.ReportBody) { e.MiscSelect |= 2 }, "want 0x0"},
	} {
		changed := enclave
		c.change(&changed)
		cases = append(cases, Case{Name: "another " + string(c.check), Enclave: changed, Policy: policy, Failed: failed(c.check), Detail: c.detail})
	}
	return cases
}

// platformPolicyCases are about policies that restrict platforms. Each breaks one requirement.
func platformPolicyCases() []Case {
	ppid, family := quote.HexBytes(derive(16, "PPID of node-1")), quote.HexBytes(fmspc)
	other := func(id quote.HexBytes) quote.HexBytes {
		changed := slices.Clone(id)
		changed[0]++
		return changed
	}
	old := func(i *Issuer) { i.Extension.Components[0]-- }
	outOfDate := []attest.TCBStatus{attest.OutOfDate}
	return []Case{
		{Name: "valid, an accepted PPID and FMSPC", Policy: attest.Policy{PPIDs: []quote.HexBytes{other(ppid), ppid}, FMSPCs: []quote.HexBytes{family}}},
		{Name: "another PPID", Policy: attest.Policy{PPIDs: []quote.HexBytes{other(ppid)}, FMSPCs: []quote.HexBytes{family}}, Failed: failed(attest.CheckPPID), Detail: "which the policy does not accept"},
		{Name: "another FMSPC", Policy: attest.Policy{PPIDs: []quote.HexBytes{ppid}, FMSPCs: []quote.HexBytes{other(family)}}, Failed: failed(attest.CheckFMSPC), Detail: "which the policy does not accept"},
		{Name: "valid, the TCB date that is required", Policy: attest.Policy{MinTCBDate: levelDate(2025)}},
		{Name: "TCB date too early", prepare: old, Policy: attest.Policy{Statuses: outOfDate, MinTCBDate: levelDate(2025)}, Failed: failed(attest.CheckTCBDate), Detail: "up to 2024-01-01, want 2025-01-01"},
		{Name: "valid, an advisory that is not refused", prepare: old, Policy: attest.Policy{Statuses: outOfDate, RefusedAdvisories: []string{"SIMULATED-SA-00009"}}},
		{Name: "a refused advisory", prepare: old, Policy: attest.Policy{Statuses: outOfDate, RefusedAdvisories: []string{"SIMULATED-SA-00001"}},
			Failed: failed(attest.CheckRefusedAdvisories), Detail: "SIMULATED-SA-00001 applies"},
		{Name: "a refused advisory of a platform that is up to date", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels[0].AdvisoryIDs = []string{"SIMULATED-SA-00003"} },
			Policy: attest.Policy{RefusedAdvisories: []string{"SIMULATED-SA-00003"}}, Failed: failed(attest.CheckRefusedAdvisories), Detail: "SIMULATED-SA-00003 applies"},
	}
}

// quoteCases are about modified quotes and invalid numbers.
func quoteCases() []Case {
	return []Case{
		// 18: one that accepts numbers that are not signatures, and points that are not keys.
		{Name: "quote signature is zero", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.Signature = quote.Signature{} }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "s of the quote signature is zero", tamper: func(q *quote.Quote, _ *attest.Collateral) { clear(q.Signature.Signature[32:]) }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "r of the quote signature is zero", tamper: func(q *quote.Quote, _ *attest.Collateral) { clear(q.Signature.Signature[:32]) }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "r of the quote signature exceeds the group order", tamper: func(q *quote.Quote, _ *attest.Collateral) {
			for i := range 32 {
				q.Signature.Signature[i] = 0xff
			}
		}, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "QE report signature is zero", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReportSignature = quote.Signature{} }, Failed: failed(attest.CheckQEReport)},
		{Name: "attestation key off the curve", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.AttestationKey[63] ^= 1 }, Failed: failed(attest.CheckKeyBinding, attest.CheckQuoteSignature)},
		{Name: "attestation key is zero", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.AttestationKey = quote.PublicKey{} }, Failed: failed(attest.CheckKeyBinding, attest.CheckQuoteSignature)},

		// Each part of a quote.
		{Name: "modified MRENCLAVE", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Enclave.MREnclave[0] ^= 1 }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "modified header", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Header.QESVN++ }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "modified QE report", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReport.ISVSVN++ }, Failed: failed(attest.CheckQEReport)},
		{Name: "modified QE authentication data", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEAuthData[0] ^= 1 }, Failed: failed(attest.CheckKeyBinding)},
		{Name: "modified tail of the QE's report data", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Signature.QEReport.ReportData[63] = 1 },
			Failed: failed(attest.CheckQEReport, attest.CheckKeyBinding)},
		{Name: "another QE vendor", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Header.VendorID[0]++ }, Failed: failed(attest.CheckQuoteSignature, attest.CheckQEVendor)},
		{Name: "valid, certificates from the root down", forge: reorder(2, 1, 0)},
		{Name: "valid, certificates in another order", forge: reorder(0, 2, 1)},
		{Name: "CA certificate as PCK certificate", forge: reorder(1, 1, 2), Failed: failed(attest.CheckPCKChain, attest.CheckPlatform, attest.CheckQEReport, attest.CheckTCBStatus)},
	}
}
