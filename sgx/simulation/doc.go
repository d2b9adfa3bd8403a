// Package simulation is what an enclave finds on a simulated SGX platform: a
// software processor that writes REPORTs, and the root certificate that quotes
// of such a platform chain to.
//
// The processor is that of the Intel SGX SDK's simulation mode: same keys, same
// derivation (sdk/simulation/tinst/deriv.cpp). So reports of unmodified
// simulation-mode enclaves and reports made here can be checked by either.
//
// NOTHING HERE IS SECRET. The keys are published constants: a simulated report
// or quote proves nothing. It serves development, tests and demonstrations, and
// every name in its certificates says SIMULATED (NOT INTEL).
package simulation
