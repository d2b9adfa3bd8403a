// Package attesttest is a fake Intel for the tests of programs that verify quotes: its
// certificate authorities, its collateral, platforms that make quotes, and invalid evidence.
//
// An Issuer issues quotes of enclaves (NewIssuer) or of trust domains (NewTDXIssuer), and the
// collateral to verify them with, byte for byte in the form of genuine ones: quotes as package
// quote describes them, certificates and CRLs as in Intel's "SGX PCK Certificate and
// Certificate Revocation List Profile Specification", TCB info and QE identity as in PCS API
// version 4. Its fields can be changed before anything is signed. Handler serves the collateral
// as Intel's service and its caches do.
//
// Cases are quotes with collateral in which one thing is wrong, for example a revoked
// certificate, a TCB level out of date, or a signature of zeros, and what a verifier must find.
// Run your verifier against all of them.
//
// NOTHING THAT IS ISSUED HERE IS EVIDENCE. All keys are derived from a seed that is printed in
// this package, so anyone can sign anything. Every certificate's name starts with SIMULATED
// (NOT INTEL). A verifier accepts the quotes only if it trusts the root of sgx/simulation, which
// no verifier should outside of tests.
//
// The same arguments give the same bytes, now and in the future: ECDSA signatures are
// deterministic (RFC 6979). Errors only occur if a changed field cannot be signed or encoded.
package attesttest
