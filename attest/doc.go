// Package attest verifies DCAP quotes of SGX enclaves: whether the quoting enclave of
// a genuine platform has signed one, and whether that platform is as safe as the
// caller wants.
//
// A Verifier walks the proof of a quote, from a root that the caller trusts down to
// the enclave. The PCK certificate of the platform chains to the root; neither it nor
// its CA is revoked; its key signs the report of the quoting enclave, which is the one
// that Intel names; that report binds the attestation key, which signs the quote. The
// PCK certificate also says which security versions the platform has, and TCB info
// says what is known against these. Roots are compared by their keys, and what is
// signed is believed only then.
//
// For this, a verifier needs Collateral, which Intel publishes and services on the
// way hand on. There is no verdict without it, nor one on quotes of trust domains.
//
// A Policy says what the caller wants besides: which enclave, with which report data,
// how old the collateral may be, and which TCB statuses are good enough. The Result
// has every check with what was found, to be shown, logged as JSON, or turned into an
// error.
//
// A trusted quote does not say that nobody has opened the machine: attacks on the
// memory bus are out of scope for SGX. Policy.PlatformInstances is for those who know
// their machines.
//
// The package never touches the network, and the time is an argument. Source: Intel's
// quote verification library (QVL) and "SGX ECDSA QuoteGenReference and
// QuoteVerification", and Intel's PCS API version 4 for collateral.
package attest
