// Package attest verifies DCAP quotes of SGX enclaves and TDX trust domains: whether the
// quoting enclave (QE) of a genuine platform signed a quote, and whether the platform and
// the enclave or trust domain are what the caller requires. In the terms of RFC 9334, it
// verifies and appraises evidence.
//
// # The proof
//
// A Verifier follows the proof of a quote from a root that the caller trusts down to the
// enclave or trust domain:
//   - The PCK certificate of the platform chains to the root, and no certificate of the
//     proof is revoked.
//   - The key of the PCK certificate signed the QE report, and the QE is the one in Intel's
//     QE identity.
//   - The QE report binds the attestation key, which signed the quote.
//   - The TDX module that runs a trust domain is the one in the TCB info.
//   - The PCK certificate has the platform's security versions, and the report of a trust
//     domain those of the TDX module; the TCB info has the status of these (TCB, trusted
//     computing base): UpToDate, OutOfDate, Revoked and others.
//
// Roots are identified by their keys, never by their names. Nothing is parsed as JSON before
// its signature has been verified.
//
// # What goes in and what comes out
//
// A verification needs Collateral, which Intel publishes and services cache; package pcs
// fetches it. Without collateral a verification is incomplete. Enclaves and trust domains
// need collateral of their own.
//
// A Policy is the caller's appraisal policy: which enclave or trust domain, with which
// report data, how recent collateral, and which TCB statuses. It must name whom it accepts, and
// a policy for one of the two does not accept the other. The Result has every check with what was
// found, and what is short of a platform that is up to date; it can be shown or logged as JSON. The error of a verification is a *CheckError, which wraps
// ErrNotTrusted, or wraps ErrIncomplete.
//
// A trusted quote does not rule out physical tampering: attacks on the memory bus are out of
// scope for SGX. Callers who know which machines they run on should allow only those with
// Policy.PlatformInstances.
//
// The package never uses the network, and the time is an argument. FetchAndVerify asks a Source for
// the collateral, once the certificate chain and the signatures are checked; package verify also
// reads the quote, in any form, and is the one call for most programs. Package attesttest issues
// quotes and collateral for tests.
//
// Source: Intel's quote verification library (QVL, version d12717e), "SGX ECDSA
// QuoteGenReference and QuoteVerification", and PCS API version 4 for collateral.
package attest
