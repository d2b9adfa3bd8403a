// Package tdx has the data structures of TDX (Trust Domain Extensions): the report
// body of a trust domain (TD), which a TDX quote carries.
//
// A ReportBody is a Go value with an exact binary form: MarshalBinary and
// UnmarshalBinary are inverse to each other for every input of the right size, which
// is 584 bytes for TDX 1.0, 648 for TDX 1.5 and 885 for TDX 1.5 extended;
// any other size is a *SizeError. Sizes and offsets are exported in bytes. All integers
// are little-endian; byte strings are in memory order.
//
// Source: Intel's "TDX DCAP Quoting Library API", appendix A.3, and
// sgx_report2_body_t, sgx_report2_body_v1_5_t and its extended form, of sgx_quote_4.h and
// sgx_quote_5.h; "Intel TDX Module ABI Reference", TDATTRIBUTES and XFAM.
//
// The package needs no TDX hardware. Package quote parses the quotes; package attest
// verifies them.
package tdx
