// Package sgx has the data structures of SGX (Software Guard Extensions)
// hardware: the REPORT that the EREPORT instruction writes, the report body in
// it, and the TARGETINFO that names the enclave which can check it.
//
// Each structure is a Go value with an exact binary form. MarshalBinary and
// UnmarshalBinary are inverse to each other for every input of the right size;
// any other size is a *SizeError. Sizes and offsets are exported in bytes. All
// integers are little-endian; byte strings are in memory order.
//
// Reserved bytes are kept as they were read, so that structures of newer
// processors survive a round trip. The methods Reserved report whether one of
// them is set.
//
// Source: Intel SDM, volume 3D, section "SGX Data Structures", and sgx_report.h,
// sgx_attributes.h and sgx_key.h of the Intel SGX SDK.
//
// The package needs no SGX hardware and imports only the standard library. See
// sgx/simulation for a software processor that writes reports, and package quote
// for the quotes that are made of them.
package sgx
