// Package simulated is the quote backend of a simulated SGX platform: it checks reports of a
// software processor (sgx/simulation) and signs quotes with the keys of a fake Intel
// (attest/attesttest).
//
// Its quotes have the form of genuine ones, so that clients and verifiers are used unchanged.
// They prove nothing: anyone can derive the keys. Every name says SIMULATED (NOT INTEL), and a
// verifier accepts the quotes only if it is given the simulated root on purpose.
//
// The keys of a platform depend on the name of the node, as they depend on the processor in
// reality. The same name gives the same keys and the same quotes, now and in the future.
package simulated
