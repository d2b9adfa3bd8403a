package attesttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"slices"
	"strings"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// tdxCases returns the cases of quotes of trust domains. Most of the other cases are the same for
// both TEEs, and are not repeated.
func tdxCases() []Case {
	cases := slices.Concat(tdxFormCases(), tdxModuleCases(), tdxLevelCases(), tdxConvergeCases(), tdxRelaunchCases(), tdxAttributeCases(), tdxMeasurementCases())
	for i := range cases {
		c := &cases[i]
		c.Name = "trust domain, " + c.Name
		if strings.HasPrefix(c.Name, "trust domain, valid") {
			c.Name = strings.Replace(c.Name, "trust domain, valid", "valid, trust domain", 1)
		}
		if c.TD == nil {
			c.TD = trustDomain(nil)
		}
		if c.Policy.TrustDomain == nil {
			c.Policy.TrustDomain = &attest.TDPolicy{Any: true}
		}
	}
	return append(cases, teeCases()...)
}

// trustDomain returns the report body of a trust domain of TDX 1.0, after a change.
func trustDomain(change func(*tdx.ReportBody)) *tdx.ReportBody {
	td := TrustDomain()
	td.TDX15 = nil
	if change != nil {
		change(&td)
	}
	return &td
}

// trustDomain15 returns the report body of a trust domain of TDX 1.5, launched and at present with
// these security versions.
func trustDomain15(launched, current tdx.TCBSVN) *tdx.ReportBody {
	td := TrustDomain()
	td.TEETCBSVN, td.TDX15.TEETCBSVN2 = launched, current
	return &td
}

// setStatus changes the status of the first level.
func setStatus(levels []TCBLevel, status string) { levels[0].TCBStatus = status }

// resign replaces a part of the TCB info and signs it again.
func resign(before, after string) func(*Issuer, *quote.Quote, *attest.Collateral) error {
	return func(i *Issuer, _ *quote.Quote, c *attest.Collateral) (err error) {
		changed := strings.Replace(c.TCBInfo, before, after, 1)
		if changed == c.TCBInfo {
			return fmt.Errorf("attesttest: TCB info without %s", before)
		}
		c.TCBInfo = changed
		c.TCBInfoSignature, err = i.TCBSigner.Sign([]byte(changed))
		return err
	}
}

// module1 returns the identity of the TDX module of major version 1.
func module1(i *Issuer) *TDXModuleIdentity { return &i.TCBInfo.TDXModuleIdentities[1] }

// tdxComponent returns a component of the trust domain in a level of the TCB info.
func tdxComponent(i *Issuer, level, component int) *int {
	return &i.TCBInfo.TCBLevels[level].TCB.(PlatformTCB).TDXComponents[component].SVN
}

// badTCBInfo is what fails if the TCB info cannot be used.
func badTCBInfo() []attest.CheckName {
	return failed(attest.CheckTCBInfo, attest.CheckTDXModule, attest.CheckTCBStatus)
}

// tdxFormCases are about versions, bodies and the form of collateral.
func tdxFormCases() []Case {
	extended := TrustDomain()
	extended.TDX15.Ex = &tdx.ReportBody15Ex{TDID: tdx.TDID{1}}
	tdx15 := TrustDomain()
	nest := func(depth int) func(*Issuer, *quote.Quote, *attest.Collateral) error {
		return resign(`"id":"TDX"`, `"x":`+strings.Repeat("[", depth)+strings.Repeat("]", depth)+`,"id":"TDX"`)
	}
	components := func(name string, n int) func(*Issuer, *quote.Quote, *attest.Collateral) error {
		before := `"` + name + `":[{"svn":`
		if n > 16 {
			return resign(before, `"`+name+`":[`+strings.Repeat(`{"svn":0},`, n-16)+`{"svn":`)
		}
		if name == "sgxtcbcomponents" {
			return resign(before+"7},", `"`+name+`":[`)
		}
		return resign(before+"5},", `"`+name+`":[`)
	}
	return []Case{
		{Name: "valid"},
		{Name: "valid, version 4", prepare: func(i *Issuer) { i.Version = quote.Version4 }},
		{Name: "valid, TDX 1.5", TD: &tdx15},
		{Name: "valid, TDX 1.5 extended", TD: &extended},
		{Name: "modified MRTD", tamper: func(q *quote.Quote, _ *attest.Collateral) { q.TD.MRTD[0] ^= 1 }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "modified extension", TD: &extended, tamper: func(q *quote.Quote, _ *attest.Collateral) { q.TD.TDX15.Ex.CurrentServiceTDAttributes = 1 }, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "TDX 1.5 passed off as TDX 1.0", TD: &tdx15, tamper: func(q *quote.Quote, _ *attest.Collateral) {
			q.BodyType, q.TD.TDX15 = quote.BodyTDX10, nil
		}, Failed: failed(attest.CheckQuoteSignature)},
		{Name: "revoked PCK certificate", prepare: func(i *Issuer) { revoke(i.PCKCRL, i.PCK) }, Failed: failed(attest.CheckRevocation)},
		{Name: "TCB info of another FMSPC", prepare: func(i *Issuer) { i.TCBInfo.FMSPC = "00906ED50000" }, Failed: failed(attest.CheckCollateralPlatform, attest.CheckTCBStatus), Detail: "00906ED50000"},
		{Name: "another enclave certifies the attestation key", prepare: func(i *Issuer) { i.QE = quotingEnclave() }, Failed: failed(attest.CheckQuotingEnclave), Detail: "it is not the quoting enclave"},
		{Name: "TCB info of an obsolete version", prepare: func(i *Issuer) { i.TCBInfo.Version = 2 }, Failed: badTCBInfo(), Detail: "version is 2"},
		{Name: "no tdxModule", prepare: func(i *Issuer) { i.TCBInfo.TDXModule = nil }, Failed: badTCBInfo(), Detail: "tdxModule is missing"},
		{Name: "tdxModule without a signer", forge: resign(`"tdxModule":{"mrsigner":"`+strings.Repeat("00", 48)+`",`, `"tdxModule":{`), Failed: badTCBInfo(), Detail: "tdxModule: mrsigner"},
		{Name: "no levels of a TDX module", prepare: func(i *Issuer) { module1(i).TCBLevels = nil }, Failed: badTCBInfo(), Detail: "want an array"},
		{Name: "level of a TDX module twice", prepare: func(i *Issuer) { module1(i).TCBLevels[1] = module1(i).TCBLevels[0] }, Failed: badTCBInfo(), Detail: "identity TDX_01: duplicate TCB level"},
		{Name: "identity of a TDX module twice", prepare: func(i *Issuer) { i.TCBInfo.TDXModuleIdentities[0].ID = "tdx_01" }, Failed: badTCBInfo(), Detail: "occurs twice"},
		{Name: "empty tdxModuleIdentities", prepare: func(i *Issuer) { i.TCBInfo.TDXModuleIdentities = nil }, forge: resign(`"tcbLevels"`, `"tdxModuleIdentities":[],"tcbLevels"`),
			Failed: badTCBInfo(), Detail: "tdxModuleIdentities is empty"},
		{Name: "level without TDX components", prepare: func(i *Issuer) {
			tcb := i.TCBInfo.TCBLevels[0].TCB.(PlatformTCB)
			tcb.TDXComponents = nil
			i.TCBInfo.TCBLevels[0].TCB = tcb
		}, Failed: badTCBInfo(), Detail: "tdxtcbcomponents is missing"},

		// 21: security versions off by one, and texts nested so deeply that parsers run out of
		// stack: mended in Intel's library in June 2026.
		{Name: "15 SGX components", forge: components("sgxtcbcomponents", 15), Failed: badTCBInfo(), Detail: "sgxtcbcomponents: 15 components, want 16"},
		{Name: "17 SGX components", forge: components("sgxtcbcomponents", 17), Failed: badTCBInfo(), Detail: "sgxtcbcomponents: 17 components, want 16"},
		{Name: "15 TDX components", forge: components("tdxtcbcomponents", 15), Failed: badTCBInfo(), Detail: "tdxtcbcomponents: 15 components, want 16"},
		{Name: "17 TDX components", forge: components("tdxtcbcomponents", 17), Failed: badTCBInfo(), Detail: "tdxtcbcomponents: 17 components, want 16"},
		{Name: "SVN of a TDX component above 255", prepare: func(i *Issuer) { *tdxComponent(i, 1, 15) = 256 }, Failed: badTCBInfo(), Detail: "want an integer from 0 to 255"},
		{Name: "valid, TCB info nested up to the limit", forge: nest(30)},
		{Name: "valid, TCB info with brackets in a text", forge: resign(`"id":"TDX"`, `"x":"`+strings.Repeat("[", 40)+`\"`+strings.Repeat("{", 40)+`\\","id":"TDX"`)},
		{Name: "TCB info nested deeper than the limit", forge: nest(32), Failed: badTCBInfo(), Detail: "nested deeper than 31"},
		{Name: "TCB info nested very deeply", forge: nest(100_000), Failed: badTCBInfo(), Detail: "nested deeper than 31"},
		{Name: "PCK of another size", forge: func(i *Issuer, q *quote.Quote, _ *attest.Collateral) (err error) {
			if i.PCK.Key, err = ecdsa.ParseRawPrivateKey(elliptic.P384(), derive(48, "PCK of another size")); err != nil {
				return err
			}
			q.Signature.CertificationData, err = i.certificationData()
			return err
		}, Failed: failed(attest.CheckQEReport), Detail: "is not ECDSA P-256"},
	}
}

// tdxModuleCases are about the identity of the TDX module.
func tdxModuleCases() []Case {
	const other = "01" // of 48 or 8 bytes
	signer, attributes := other+strings.Repeat("00", 47), other+strings.Repeat("00", 7)
	version := func(minor, major byte) *tdx.ReportBody {
		return trustDomain(func(td *tdx.ReportBody) { td.TEETCBSVN[0], td.TEETCBSVN[1] = minor, major })
	}
	mismatch := failed(attest.CheckTDXModule)
	return []Case{
		// 7: a verifier that does not check the TDX module.
		{Name: "TDX module of another signer", TD: trustDomain(func(td *tdx.ReportBody) { td.MRSignerSEAM[0] = 1 }), Failed: mismatch, Detail: "MRSIGNERSEAM"},
		{Name: "TDX module in debug mode", TD: trustDomain(func(td *tdx.ReportBody) { td.SEAMAttributes = 1 }), Failed: mismatch, Detail: "SEAMATTRIBUTES"},
		{Name: "another signer of the TDX module expected", prepare: func(i *Issuer) { module1(i).MRSigner = signer }, Failed: mismatch, Detail: "MRSIGNERSEAM"},
		{Name: "attributes of the TDX module expected", prepare: func(i *Issuer) { module1(i).Attributes = attributes }, Failed: mismatch, Detail: "expects SEAMATTRIBUTES"},
		{Name: "attributes of the TDX module expected and reported", prepare: func(i *Issuer) { module1(i).Attributes = attributes },
			TD: trustDomain(func(td *tdx.ReportBody) { td.SEAMAttributes = 1 }), Failed: mismatch, Detail: "SEAMATTRIBUTES"},
		{Name: "valid, the module's identity in place of tdxModule", prepare: func(i *Issuer) { i.TCBInfo.TDXModule = &TDXModule{signer, attributes, attributes} }},
		{Name: "tdxModule in place of an identity for version 0", prepare: func(i *Issuer) {
			i.TCBInfo.TDXModule = &TDXModule{signer, attributes, attributes}
		}, TD: version(5, 0), Failed: mismatch, Detail: "MRSIGNERSEAM"},
		{Name: "valid, TDX module of version 0", prepare: func(i *Issuer) { i.TCBInfo.TDXModuleIdentities = nil }, TD: version(5, 0)},
		{Name: "valid, TDX module of version 3", TD: version(3, 3)},
		{Name: "TDX module of a version without an identity", TD: version(5, 2), Failed: failed(attest.CheckTDXModule, attest.CheckTCBStatus), Detail: "no identity TDX_02"},
		{Name: "no identities of TDX modules", prepare: func(i *Issuer) { i.TCBInfo.TDXModuleIdentities = nil }, Failed: failed(attest.CheckTDXModule, attest.CheckTCBStatus), Detail: "no identity TDX_01"},
		{Name: "valid, ID of an identity in lower case and hexadecimal", prepare: func(i *Issuer) { module1(i).ID = "tdx_1a" }, TD: version(5, 0x1a)},
	}
}

// tdxLevelCases are about TCB levels.
func tdxLevelCases() []Case {
	svns := func(svn ...byte) *tdx.ReportBody {
		return trustDomain(func(td *tdx.ReportBody) { td.TEETCBSVN = tdx.TCBSVN{}; copy(td.TEETCBSVN[:], svn) })
	}
	outdated := failed(attest.CheckTCBStatus)
	return []Case{
		{Name: "valid, newer than all levels", TD: svns(6, 1, 3, 1)},
		{Name: "SGX component out of date", prepare: func(i *Issuer) { i.Extension.Components[0]-- }, Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "last SGX component out of date", prepare: func(i *Issuer) {
			tcb := i.TCBInfo.TCBLevels[0].TCB.(PlatformTCB)
			tcb.Components[15].SVN = 1
			i.TCBInfo.TCBLevels[0].TCB = tcb
		}, Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "PCE older than all levels", prepare: func(i *Issuer) { i.Extension.PCESVN-- }, Failed: outdated, Detail: "reaches no TCB level"},
		{Name: "TDX component out of date", TD: svns(5, 1, 1), Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "last TDX component out of date", prepare: func(i *Issuer) { *tdxComponent(i, 0, 15) = 1 }, Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "TDX component older than all levels", TD: svns(5, 1, 0), Failed: outdated, Detail: "reaches no TCB level"},
		{Name: "valid, components 0 and 1 are not compared since version 1", prepare: func(i *Issuer) { *tdxComponent(i, 0, 0), *tdxComponent(i, 0, 1) = 200, 200 }},
		{Name: "component 0 is compared for version 0", TD: svns(4, 0, 2), Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "component 1 is compared for version 0", prepare: func(i *Issuer) { *tdxComponent(i, 0, 1) = 1 }, TD: svns(5, 0, 2), Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "valid, levels of the same SGX components in another order", prepare: func(i *Issuer) {
			l := i.TCBInfo.TCBLevels
			tcb := l[0].TCB.(PlatformTCB)
			tcb.TDXComponents = slices.Clone(tcb.TDXComponents)
			tcb.TDXComponents[2].SVN = 1
			l[1].TCB = tcb
			l[0], l[1] = l[1], l[0]
		}},
		{Name: "TCB level twice", prepare: func(i *Issuer) { i.TCBInfo.TCBLevels[1].TCB = i.TCBInfo.TCBLevels[0].TCB }, Failed: badTCBInfo(), Detail: "duplicate TCB level"},
		{Name: "relaunch status of a level", prepare: func(i *Issuer) { setStatus(i.TCBInfo.TCBLevels, "TDRelaunchAdvised") }, Failed: badTCBInfo(), Detail: "which follows from two levels"},

		{Name: "TDX module out of date", TD: svns(4, 1, 2), Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "advisory of the TDX module not accepted", TD: svns(4, 1, 2),
			Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}, Advisories: []string{"SIMULATED-SA-00001"}}, Failed: failed(attest.CheckAdvisories), Detail: "SIMULATED-SA-00002"},
		{Name: "TDX module older than all levels", TD: svns(2, 1, 2), Failed: outdated, Detail: "security version 2 is lower than all levels of its identity TDX_01"},
		{Name: "revoked TDX module", prepare: func(i *Issuer) { setStatus(module1(i).TCBLevels, "Revoked") }, Failed: outdated, Detail: "Revoked"},
		{Name: "TDX module with a status of platforms", prepare: func(i *Issuer) { setStatus(module1(i).TCBLevels, "ConfigurationNeeded") }, Failed: outdated, Detail: "which only platforms can have"},
		{Name: "TDX module with an unknown status", prepare: func(i *Issuer) { setStatus(module1(i).TCBLevels, "Fine") }, Failed: badTCBInfo(), Detail: `unknown TCB status "Fine"`},
		{Name: "valid, levels of the TDX module in another order", prepare: func(i *Issuer) { slices.Reverse(module1(i).TCBLevels) }},
		{Name: "QE out of date", prepare: func(i *Issuer) { i.QE.ISVSVN-- }, Failed: outdated, Detail: "OutOfDate, which"},
		{Name: "QE older than all levels", prepare: func(i *Issuer) { i.QE.ISVSVN = 1 }, Failed: outdated, Detail: "lower than all levels of the QE identity"},
		{Name: "revoked QE level", prepare: func(i *Issuer) { setStatus(i.QEIdentity.TCBLevels, "Revoked") }, Failed: outdated, Detail: "Revoked"},
	}
}

// tdxConvergeCases are about the status that follows from those of platform, TDX module and QE.
func tdxConvergeCases() []Case {
	var cases []Case
	for platform, want := range map[string][3]string{ // with the module up to date, out of date, revoked
		"UpToDate":                          {"", "OutOfDate", "Revoked"},
		"SWHardeningNeeded":                 {"SWHardeningNeeded", "OutOfDate", "Revoked"},
		"ConfigurationNeeded":               {"ConfigurationNeeded", "OutOfDateConfigurationNeeded", "Revoked"},
		"ConfigurationAndSWHardeningNeeded": {"ConfigurationAndSWHardeningNeeded", "OutOfDateConfigurationNeeded", "Revoked"},
		"OutOfDate":                         {"OutOfDate", "OutOfDate", "Revoked"},
		"OutOfDateConfigurationNeeded":      {"OutOfDateConfigurationNeeded", "OutOfDateConfigurationNeeded", "Revoked"},
		"Revoked":                           {"Revoked", "Revoked", "Revoked"},
	} {
		for n, module := range []string{"UpToDate", "OutOfDate", "Revoked"} {
			c := Case{Name: fmt.Sprintf("platform %s, TDX module %s", platform, module), prepare: func(i *Issuer) {
				setStatus(i.TCBInfo.TCBLevels, platform)
				setStatus(module1(i).TCBLevels, module)
			}}
			if want[n] == "" {
				c.Name = "valid, " + c.Name
			} else {
				c.Failed, c.Detail = failed(attest.CheckTCBStatus), want[n]+", which the policy does not accept"
			}
			cases = append(cases, c)
		}
	}
	slices.SortFunc(cases, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return cases
}

// tdxRelaunchCases are about trust domains of TDX 1.5, whose TDX module can have been updated since
// they were launched.
func tdxRelaunchCases() []Case {
	old, current := tdx.TCBSVN{4, 1, 2}, teeTCBSVN()
	extended := trustDomain15(old, current)
	extended.TDX15.Ex = new(tdx.ReportBody15Ex)
	cases := []Case{
		{Name: "launched out of date, updated since", TD: trustDomain15(old, current), Failed: failed(attest.CheckTCBStatus), Detail: "TDRelaunchAdvised (OutOfDate at launch, UpToDate now), which"},
		{Name: "extended, launched out of date, updated since", TD: extended, Failed: failed(attest.CheckTCBStatus), Detail: "TDRelaunchAdvised (OutOfDate at launch, UpToDate now), which"},
		{Name: "valid, launched out of date, updated since, and accepted", TD: trustDomain15(old, current), Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.TDRelaunchAdvised}}},
		{Name: "launched out of date, updated since, OutOfDate accepted", TD: trustDomain15(old, current), Policy: attest.Policy{Statuses: []attest.TCBStatus{attest.OutOfDate}},
			Failed: failed(attest.CheckTCBStatus), Detail: "TDRelaunchAdvised"},
		{Name: "launched and still out of date", TD: trustDomain15(old, old), Failed: failed(attest.CheckTCBStatus), Detail: "OutOfDate, which"},
		{Name: "valid, launched up to date, out of date at present", TD: trustDomain15(current, old)},
		{Name: "security version at present older than all levels", TD: trustDomain15(current, tdx.TCBSVN{2, 1, 2}), Failed: failed(attest.CheckTCBStatus), Detail: "at present (TEE_TCB_SVN_2): the TDX module's security version 2"},
		{Name: "TDX module at present without an identity", TD: trustDomain15(current, tdx.TCBSVN{5, 2, 2}), Failed: failed(attest.CheckTCBStatus), Detail: "at present (TEE_TCB_SVN_2): the TCB info has no identity TDX_02"},
		{Name: "platform at present older than all levels", TD: trustDomain15(current, tdx.TCBSVN{5, 1, 0}), Failed: failed(attest.CheckTCBStatus), Detail: "at present (TEE_TCB_SVN_2): the platform"},
		{Name: "security version at launch older than all levels", TD: trustDomain15(tdx.TCBSVN{2, 1, 2}, current), Failed: failed(attest.CheckTCBStatus), Detail: "security version 2 is lower"},
	}
	// The status of the platform, and what follows from it if the module was out of date at launch.
	for _, c := range []struct{ platform, want string }{
		{"SWHardeningNeeded", "TDRelaunchAdvised (OutOfDate at launch, SWHardeningNeeded now)"},
		{"ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded (OutOfDateConfigurationNeeded at launch, ConfigurationNeeded now)"},
		{"ConfigurationAndSWHardeningNeeded", "TDRelaunchAdvisedConfigurationNeeded (OutOfDateConfigurationNeeded at launch, ConfigurationAndSWHardeningNeeded now)"},
		{"OutOfDate", "OutOfDate"},
		{"OutOfDateConfigurationNeeded", "OutOfDateConfigurationNeeded"},
		{"Revoked", "Revoked"},
	} {
		cases = append(cases, Case{Name: "launched out of date, updated since, on a platform " + c.platform, TD: trustDomain15(old, current),
			prepare: func(i *Issuer) { setStatus(i.TCBInfo.TCBLevels, c.platform) }, Failed: failed(attest.CheckTCBStatus), Detail: c.want + ", which"})
	}
	// The platform was out of date at launch because of a component: its level then has a status of
	// its own.
	for _, c := range []struct{ launched, current, want string }{
		{"OutOfDate", "ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded (OutOfDate at launch, ConfigurationNeeded now)"},
		{"OutOfDateConfigurationNeeded", "UpToDate", "TDRelaunchAdvisedConfigurationNeeded (OutOfDateConfigurationNeeded at launch, UpToDate now)"},
		{"SWHardeningNeeded", "UpToDate", "SWHardeningNeeded"},
	} {
		cases = append(cases, Case{Name: "platform " + c.launched + " at launch, " + c.current + " at present", TD: trustDomain15(tdx.TCBSVN{5, 1, 1}, current),
			prepare: func(i *Issuer) {
				// Levels that differ in the components of trust domains only.
				l := i.TCBInfo.TCBLevels
				tcb := l[0].TCB.(PlatformTCB)
				tcb.TDXComponents = slices.Clone(tcb.TDXComponents)
				tcb.TDXComponents[2].SVN = 1
				l[1].TCB = tcb
				l[0].TCBStatus, l[1].TCBStatus = c.current, c.launched
			}, Failed: failed(attest.CheckTCBStatus), Detail: c.want + ", which"})
	}
	return cases
}

// tdxAttributeCases are about TDATTRIBUTES and XFAM.
func tdxAttributeCases() []Case {
	attributes := func(a tdx.Attributes) *tdx.ReportBody {
		return trustDomain(func(td *tdx.ReportBody) { td.TDAttributes = a })
	}
	xfam := func(x tdx.XFAM) *tdx.ReportBody {
		return trustDomain(func(td *tdx.ReportBody) { td.XFAM = x })
	}
	policy := func(p attest.TDPolicy) attest.Policy {
		p.Any = true
		return attest.Policy{TrustDomain: &p}
	}
	const usual = tdx.AttributeSEPTVEDisable
	return []Case{
		{Name: "debug mode", TD: attributes(usual | tdx.AttributeDebug), Failed: failed(attest.CheckDebugMode), Detail: "DEBUG"},
		{Name: "another bit of the debug byte", TD: attributes(usual | 0x80), Failed: failed(attest.CheckDebugMode), Detail: "DEBUG"},
		{Name: "valid, debug mode and accepted", TD: attributes(usual | tdx.AttributeDebug), Policy: attest.Policy{AllowDebug: true}},
		{Name: "reserved bit 8", TD: attributes(usual | 1<<8), Failed: failed(attest.CheckTDAttributes), Detail: "reserved bits 0x0000000000000100"},
		{Name: "reserved bit 27", TD: attributes(usual | 1<<27), Failed: failed(attest.CheckTDAttributes), Detail: "reserved bits"},
		{Name: "reserved bit 32", TD: attributes(usual | 1<<32), Failed: failed(attest.CheckTDAttributes), Detail: "reserved bits"},
		{Name: "reserved bit 62", TD: attributes(usual | 1<<62), Failed: failed(attest.CheckTDAttributes), Detail: "reserved bits"},
		{Name: "without SEPT_VE_DISABLE", TD: attributes(0), Failed: failed(attest.CheckSEPTVEDisable), Detail: "inject #VE"},
		{Name: "valid, without SEPT_VE_DISABLE and accepted", TD: attributes(0), Policy: policy(attest.TDPolicy{AllowSEPTVE: true})},
		{Name: "migratable", TD: attributes(usual | tdx.AttributeMigratable), Failed: failed(attest.CheckMigratable), Detail: "moved to another platform"},
		{Name: "valid, migratable and accepted", TD: attributes(usual | tdx.AttributeMigratable), Policy: policy(attest.TDPolicy{AllowMigratable: true})},
		{Name: "valid, PKS, KL and PERFMON", TD: attributes(usual | tdx.AttributePKS | tdx.AttributeKL | tdx.AttributePerfmon)},
		{Name: "PKS refused", TD: attributes(usual | tdx.AttributePKS), Policy: policy(attest.TDPolicy{RefusePKS: true, RefuseKL: true, RefusePerfmon: true}), Failed: failed(attest.CheckPKS)},
		{Name: "KL refused", TD: attributes(usual | tdx.AttributeKL), Policy: policy(attest.TDPolicy{RefusePKS: true, RefuseKL: true, RefusePerfmon: true}), Failed: failed(attest.CheckKL)},
		{Name: "PERFMON refused", TD: attributes(usual | tdx.AttributePerfmon), Policy: policy(attest.TDPolicy{RefusePKS: true, RefuseKL: true, RefusePerfmon: true}), Failed: failed(attest.CheckPerfmon)},
		{Name: "XFAM without x87", TD: xfam(0xe6), Failed: failed(attest.CheckXFAM), Detail: "all have x87 and SSE"},
		{Name: "XFAM without SSE", TD: xfam(0xe5), Failed: failed(attest.CheckXFAM), Detail: "all have x87 and SSE"},
		{Name: "XFAM with an undefined bit", TD: xfam(0xe7 | 1<<10), Failed: failed(attest.CheckXFAM), Detail: "does not accept 0x0000000000000400"},
		{Name: "valid, XFAM with all defined bits", TD: xfam(tdx.XFAMDefined)},
		{Name: "XFAM with more than the policy accepts", TD: xfam(0x600e7), Policy: policy(attest.TDPolicy{AllowedXFAM: 0xe7}), Failed: failed(attest.CheckXFAM), Detail: "does not accept 0x0000000000060000"},
		{Name: "valid, XFAM with less than the policy accepts", TD: xfam(0x7), Policy: policy(attest.TDPolicy{AllowedXFAM: 0xe7})},
		{Name: "TEE_TCB_SVN too low", Policy: policy(attest.TDPolicy{MinTEETCBSVN: tdx.TCBSVN{6}}), Failed: failed(attest.CheckTEETCBSVN), Detail: "want at least 06"},
		{Name: "valid, TEE_TCB_SVN high enough", Policy: policy(attest.TDPolicy{MinTEETCBSVN: teeTCBSVN()})},
	}
}

// tdxMeasurementCases are about the lists of accepted measurements.
func tdxMeasurementCases() []Case {
	// Each measurement has a value of its own.
	td := TrustDomain()
	mrseam := td.MRSEAM
	for n, m := range []*tdx.Measurement{&td.MRTD, &td.RTMR[0], &td.RTMR[1], &td.RTMR[2], &td.RTMR[3], &td.MRConfigID, &td.MROwner, &td.MROwnerConfig, &td.TDX15.MRServiceTD} {
		m[47] = byte(n + 1)
	}
	of := func(n byte) tdx.Measurement { return tdx.Measurement{47: n} }
	lists := []struct {
		check   attest.CheckName
		list    func(*attest.TDPolicy) *[]tdx.Measurement
		genuine tdx.Measurement
	}{
		{attest.CheckMRTD, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MRTDs }, of(1)},
		{attest.CheckRTMR0, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR0 }, of(2)},
		{attest.CheckRTMR1, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR1 }, of(3)},
		{attest.CheckRTMR2, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR2 }, of(4)},
		{attest.CheckRTMR3, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR3 }, of(5)},
		{attest.CheckMRSEAM, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MRSEAMs }, mrseam},
		{attest.CheckMRConfigID, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MRConfigIDs }, of(6)},
		{attest.CheckMROwner, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MROwners }, of(7)},
		{attest.CheckMROwnerConfig, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MROwnerConfigs }, of(8)},
		{attest.CheckMRServiceTD, func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MRServiceTDs }, of(9)},
	}
	all := attest.TDPolicy{}
	var cases []Case
	for _, l := range lists {
		*l.list(&all) = []tdx.Measurement{of(0x80), l.genuine}
		policy := attest.TDPolicy{MRTDs: []tdx.Measurement{of(1)}}
		*l.list(&policy) = []tdx.Measurement{of(0x80), of(0x81)}
		cases = append(cases, Case{Name: "another " + string(l.check), TD: &td, Policy: attest.Policy{TrustDomain: &policy}, Failed: failed(l.check), Detail: "which the policy does not accept"})
	}
	tdx10 := td
	tdx10.TDX15 = nil
	return append(cases,
		Case{Name: "valid, one of two of each measurement", TD: &td, Policy: attest.Policy{TrustDomain: &all}},
		Case{Name: "TDX 1.0, which has no MRSERVICETD", TD: &tdx10, Policy: attest.Policy{TrustDomain: &all}, Failed: failed(attest.CheckMRServiceTD), Detail: "it is of TDX 1.0"},
		Case{Name: "another nonce", TD: &td, Policy: attest.Policy{ReportData: []byte{1}, TrustDomain: &all}, Failed: failed(attest.CheckReportData)},
	)
}

// teeCases are about collateral and policies for the other TEE.
func teeCases() []Case {
	td := trustDomain(nil)
	accept := attest.Policy{TrustDomain: &attest.TDPolicy{Any: true}}
	both := attest.Policy{AnyEnclave: true, TrustDomain: &attest.TDPolicy{Any: true}}
	tdxIdentity := func(i *Issuer) { i.QEIdentity.setEnclave("TD_QE", tdQuotingEnclave()) }
	wrong := failed(attest.CheckCollateralTEE, attest.CheckTCBStatus)
	return []Case{
		{Name: "TCB info for TDX", prepare: func(i *Issuer) { i.TCBInfo.setTDX() }, Failed: wrong, Detail: "the TCB info is for TDX, want one for SGX: services have it under paths with /sgx/"},
		{Name: "QE identity for TDX", prepare: tdxIdentity, Failed: failed(attest.CheckCollateralTEE, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "the QE identity is for TDX (TD_QE)"},
		{Name: "TD QE and its identity for an enclave", prepare: func(i *Issuer) { tdxIdentity(i); i.QE = tdQuotingEnclave() },
			Failed: failed(attest.CheckCollateralTEE, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "the QE identity is for TDX (TD_QE)"},
		{Name: "TDX module in TCB info for SGX", forge: resign(`"tcbLevels"`, `"tdxModule":{},"tcbLevels"`), Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "TDX modules in TCB info for SGX"},
		{Name: "TDX components in TCB info for SGX", forge: resign(`"pcesvn"`, `"tdxtcbcomponents":[],"pcesvn"`), Failed: failed(attest.CheckTCBInfo, attest.CheckTCBStatus), Detail: "tdxtcbcomponents: 0 components"},

		{Name: "trust domain, TCB info for SGX", TD: td, Policy: accept, prepare: func(i *Issuer) { i.TCBInfo = newTCBInfo(Today()) },
			Failed: failed(attest.CheckCollateralTEE, attest.CheckTDXModule, attest.CheckTCBStatus), Detail: "the TCB info is for SGX, want one for TDX: services have it under paths with /tdx/"},
		{Name: "trust domain, QE identity for SGX", TD: td, Policy: accept, prepare: func(i *Issuer) { i.QEIdentity = newQEIdentity(Today()) },
			Failed: failed(attest.CheckCollateralTEE, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "the QE identity is for SGX (QE)"},
		{Name: "trust domain, QE for SGX and its identity", TD: td, Policy: accept, prepare: func(i *Issuer) { i.QEIdentity, i.QE = newQEIdentity(Today()), quotingEnclave() },
			Failed: failed(attest.CheckCollateralTEE, attest.CheckQuotingEnclave, attest.CheckTCBStatus), Detail: "the QE identity is for SGX (QE)"},

		// 22: a policy for one TEE that accepts the other.
		{Name: "trust domain, policy without a part for it", TD: td, Failed: failed(attest.CheckTEE), Detail: "accepts none"},
		{Name: "trust domain, policy for any enclave", TD: td, Policy: attest.Policy{AnyEnclave: true}, Failed: failed(attest.CheckTEE), Detail: "accepts none"},
		{Name: "enclave, policy for trust domains", Policy: accept, Failed: failed(attest.CheckTEE), Detail: "accepts trust domains only"},
		{Name: "valid, policy for both, enclave", Policy: both},
		{Name: "valid, policy for both, trust domain", TD: td, Policy: both},
	}
}
