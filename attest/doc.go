// Package attest verifies DCAP quotes: that a quote was signed by a quoting
// enclave on a genuine platform, as far up as a root that the caller trusts.
//
// Verify walks the quote's own proof: the enclave's identity is signed by the
// attestation key, that key is bound by the quoting enclave's report, that
// report is signed by the platform's certification key (PCK), and the PCK's
// certificate chains to a root. The root is compared by its key, never by its
// name, and the quoting enclave by its signer.
//
// This is the part that needs nothing but the quote. It does not yet judge how
// old the platform and the quoting enclave are, nor consult revocation lists;
// and only the caller knows which enclave it expects, and with which report
// data. Result.NotChecked says so each time.
//
// The package never touches the network, and the time is an argument.
package attest
