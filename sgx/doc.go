// Package sgx holds the data structures of the SGX hardware: the REPORT that
// EREPORT writes, its body, and the TARGETINFO that says for whom it is written.
//
// Each structure is a Go value with an exact binary form: MarshalBinary and
// UnmarshalBinary are inverse to each other for every input of the right size.
// All integers are little-endian. Layouts are those of the Intel SDM, volume 3D,
// section "SGX Data Structures", as sgx_report.h of the Intel SGX SDK spells them.
//
// Reserved bytes are kept as they were read, so that a structure from a newer
// processor passes through unharmed; Reserved tells whether any is set.
//
// The package needs no SGX and imports only the standard library.
package sgx
