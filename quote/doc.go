// Package quote reads and writes DCAP (Data Center Attestation Primitives) quotes: a
// quoting enclave (QE) signs an enclave's REPORT, so that relying parties on other
// machines can verify it.
//
// A quote is, in this order:
//   - a header of 48 bytes;
//   - the report body of the enclave or, for TDX, of the trust domain;
//   - the signature of the QE's attestation key over both;
//   - the QE's own report, which binds the attestation key, and its signature by the
//     platform's certification key (PCK);
//   - certification data: usually the certificate chain of the PCK.
//
// Versions 3 (SGX), 4 (SGX, TDX 1.0) and 5 (SGX, TDX 1.0, 1.5 and 1.5 extended) are
// supported. Integers are little-endian; the numbers of ECDSA signatures and keys are
// big-endian; sizes and offsets are in bytes.
//
// Parse is strict: lengths must agree, reserved bytes must be zero, and nothing may
// follow the quote; ParsePadded also accepts zeros there. Errors are a *FormatError,
// which names the field and its offset and wraps ErrTruncated, ErrTrailing, ErrReserved,
// ErrUnsupported or ErrLength. A parsed quote marshals to the same bytes. Parsing
// verifies no signature; package attest does. The JSON form of a quote is for people and logs: it can be written, but not read.
//
// Source: Intel's "SGX ECDSA Quote Library API", appendix A, and "TDX DCAP Quoting
// Library API", appendix A.3, as in sgx_quote_3.h, sgx_quote_4.h and sgx_quote_5.h.
package quote
