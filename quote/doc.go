// Package quote reads and writes DCAP attestation quotes: what a quoting enclave
// (QE) makes of an enclave's REPORT so that others than this processor can check
// it.
//
// A quote is a header, the report body of the enclave (or of the trust domain,
// for TDX), a signature over both by the QE's attestation key, the QE's own
// report, which binds that key, and certification data: the certificate chain
// of the key (PCK) that signed the QE's report.
//
// Parse is strict: lengths must agree, reserved bytes be zero and nothing may
// follow. A *FormatError names the field and the offset. What was parsed
// marshals back to the same bytes. Parsing checks no signature; package attest
// does.
//
// The JSON form of a quote is for people and logs: it is written, not read.
//
// Versions 3 (SGX), 4 (SGX, TDX 1.0) and 5 (SGX, TDX 1.0 and 1.5) are known.
// Integers are little-endian; the numbers of ECDSA signatures and keys are
// big-endian. Source: Intel's "SGX ECDSA Quote Library API", appendix A, and
// "TDX DCAP Quoting Library API", appendix A.3, as sgx_quote_3.h, sgx_quote_4.h
// and sgx_quote_5.h spell them.
package quote
