// Package simulated is an SGX platform in software: a processor, a quoting
// enclave (QE), a provisioning certification enclave (PCE), and the certificate
// authority and collateral service that stand behind a real one.
//
// Its quotes have the form of genuine ones, so clients and verifiers are used
// unchanged. They prove nothing: every key is derived from a seed that is
// printed in this package. All names say SIMULATED (NOT INTEL), and a verifier
// accepts the quotes only if it is given the simulated root on purpose.
//
// The root and the signers of collateral are the same everywhere; the platform's
// own keys also depend on the name of the node, as they depend on the processor
// in reality. The same name gives the same bytes, today and tomorrow.
package simulated
