// Package dcaptest is a stand-in for Intel's DCAP quoting library, for tests on
// machines without SGX. It compiles four shared libraries,
//
//	libsgx_dcap_ql.so.1     the interface for applications
//	libsgx_qe3_logic.so     what it does: enclaves, keys, quotes
//	libsgx_pce_logic.so.1   the PCE, which certifies the keys
//	libdcap_quoteprov.so.1  the quote provider
//
// that have the C interface of the genuine ones, look for the same files in the same
// places, call the provider at the same moments and refuse with the same codes. Their
// quotes are those of the simulated platform (internal/backend/simulated) of the same
// node name, byte for byte except the signature. A provider with the interface of
// Azure's is there as well (Library.UseAzureProvider).
//
// Tests can inject Faults, which crash, hang or confuse the one process that takes
// them. Delay makes quotes slow, and Counters count the calls of each function.
//
// NOTHING HERE IS SECRET: the keys are those of the simulated platform, in plain
// files.
package dcaptest
