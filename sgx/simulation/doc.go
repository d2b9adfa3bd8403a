// Package simulation is the software processor of simulated SGX platforms: it
// writes and checks REPORTs. It also has the root certificate that quotes of such
// platforms chain to.
//
// The processor is that of the Intel SGX SDK's simulation mode: the same keys and
// the same derivation (sdk/simulation/tinst/deriv.cpp and rts_sim.h). This
// package can check the reports of unmodified simulation-mode enclaves, and they can
// check its reports. Structures and byte order are those of package sgx.
//
// NOTHING HERE IS SECRET. The keys are published constants, so a simulated report
// or quote proves nothing. Use it for development, tests and demonstrations. Every
// name in its certificates says SIMULATED (NOT INTEL).
package simulation
