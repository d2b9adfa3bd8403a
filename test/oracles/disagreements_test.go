package oracles_test

import (
	"maps"
	"strings"
)

// disagreements returns the cases in which the other verifier has another verdict, and why ours
// is right.
func disagreements() map[string]string {
	const (
		crls    = "it checks neither signature nor issuer nor dates nor extensions of CRLs"
		levels  = "it uses the first level of the list; Intel's library sorts them and refuses duplicates"
		order   = "it wants the PCK certificate first and the root last; Intel's library takes them in any order"
		version = "it accepts SGX quotes of version 3 only"
		signer  = "it only requires that the TCB signing certificate is issued by the root"
		uses    = "it ignores extensions of certificates"
	)
	known := map[string]string{
		"valid, version 4":                                    version,
		"valid, version 5":                                    version,
		"CRLs swapped":                                        crls,
		"PCK CRL is garbage":                                  crls,
		"PCK CRL with a damaged signature":                    crls,
		"PCK CRL followed by a byte":                          crls,
		"PCK CRL of another CA with the same name":            crls,
		"expired PCK CRL":                                     crls,
		"expired root CRL":                                    crls,
		"PCK CRL from the future":                             crls,
		"expired CRL although expired collateral is accepted": crls,
		"another PCK CA with the same name":                   crls,
		"valid, another PCK certificate is revoked":           "it looks for the serial number of any certificate in any CRL, regardless of the issuer",
		"valid, TCB levels in another order":                  levels,
		"TCB level twice":                                     levels,
		"valid, certificates from the root down":              order,
		"valid, certificates in another order":                order,
		"collateral signed by a PCK certificate":              signer,
		"TCB levels of an unknown type":                       "it ignores tcbType, which defines how levels are compared",
		"TCB info of an obsolete version":                     "it ignores the version",
		"TCB info of another PCE":                             "it does not compare the PCE",
		"valid, issued by a clock that is ahead":              "its stricter clock check is a design choice",
	}
	for _, what := range []string{"is a delta CRL", "is a delta CRL, not critical", "of CA certificates only", "of some reasons only", "is an indirect CRL",
		"of attribute certificates only, not critical", "with an unknown critical extension"} {
		known["PCK CRL "+what] = crls
	}
	known["root CRL is a delta CRL"] = crls
	for _, certificate := range []string{"root certificate", "PCK CA", "PCK certificate", "TCB signing certificate"} {
		for _, extension := range []string{"an unknown critical extension", "an extended key usage", "a critical extended key usage", "name constraints", "critical name constraints",
			"policy constraints", "critical policy constraints"} {
			known[certificate+" with "+extension] = uses
		}
	}
	maps.Copy(known, tdxDisagreements())
	return known
}

// tdxDisagreements returns the disagreements on quotes of trust domains and on collateral for TDX.
func tdxDisagreements() map[string]string {
	known := make(map[string]string)
	for why, names := range map[string][]string{
		"it knows no body of type 4": {"valid, TDX 1.5 extended", "extended, launched out of date, updated since"},
		"it does not check that TCB info is complete, and in what range its numbers are": {
			"no tdxModule", "tdxModule without a signer", "no levels of a TDX module", "level of a TDX module twice", "identity of a TDX module twice", "empty tdxModuleIdentities",
			"15 SGX components", "17 SGX components", "15 TDX components", "17 TDX components", "SVN of a TDX component above 255"},
		"it does not limit how deep JSON is nested": {"TCB info nested deeper than the limit", "TCB info nested very deeply"},
		"it does not check the TDX module: neither signer nor attributes nor identity": {
			"TDX module of another signer", "TDX module in debug mode", "another signer of the TDX module expected", "attributes of the TDX module expected",
			"attributes of the TDX module expected and reported", "tdxModule in place of an identity for version 0",
			"TDX module of a version without an identity", "no identities of TDX modules"},
		"it does not take the status of the TDX module into account": {
			"revoked TDX module", "TDX module with a status of platforms", "TDX module with an unknown status",
			"platform UpToDate, TDX module OutOfDate", "platform UpToDate, TDX module Revoked",
			"platform SWHardeningNeeded, TDX module OutOfDate", "platform SWHardeningNeeded, TDX module Revoked",
			"platform ConfigurationNeeded, TDX module OutOfDate", "platform ConfigurationNeeded, TDX module Revoked",
			"platform ConfigurationAndSWHardeningNeeded, TDX module OutOfDate", "platform ConfigurationAndSWHardeningNeeded, TDX module Revoked",
			"platform OutOfDate, TDX module Revoked", "platform OutOfDateConfigurationNeeded, TDX module Revoked",
			"launched out of date, updated since, on a platform OutOfDateConfigurationNeeded", "launched out of date, updated since, on a platform Revoked"},
		"it compares the first two components of every trust domain, also where the TDX module's identity takes their place": {
			"valid, TDX module of version 3", "valid, components 0 and 1 are not compared since version 1"},
		"it uses the first level of the list; Intel's library sorts them and refuses duplicates": {
			"valid, levels of the same SGX components in another order", "TCB level twice"},
		"it ignores TEE_TCB_SVN_2, and so never advises a relaunch": {
			"launched out of date, updated since", "valid, launched out of date, updated since, and accepted", "launched out of date, updated since, OutOfDate accepted",
			"security version at present older than all levels", "TDX module at present without an identity", "platform at present older than all levels",
			"launched out of date, updated since, on a platform SWHardeningNeeded", "launched out of date, updated since, on a platform ConfigurationNeeded",
			"launched out of date, updated since, on a platform ConfigurationAndSWHardeningNeeded",
			"platform OutOfDate at launch, ConfigurationNeeded at present", "platform OutOfDateConfigurationNeeded at launch, UpToDate at present"},
		"it does not check XFAM": {"XFAM without x87", "XFAM without SSE", "XFAM with an undefined bit"},
		"it refuses every trust domain with an MRSERVICETD, which ours leaves to the policy": {
			"another MRTD", "another RTMR0", "another RTMR1", "another RTMR2", "another RTMR3", "another MRSEAM", "another MRCONFIGID", "another MROWNER",
			"another MROWNERCONFIG", "another MRSERVICETD", "valid, one of two of each measurement", "another nonce"},
	} {
		for _, name := range names {
			if valid, ok := strings.CutPrefix(name, "valid, "); ok {
				known["valid, trust domain, "+valid] = why
			} else {
				known["trust domain, "+name] = why
			}
		}
	}
	known["TDX module in TCB info for SGX"] = "it ignores members that do not belong there"
	known["TDX components in TCB info for SGX"] = "it ignores members that do not belong there, as Intel's library does"
	return known
}
