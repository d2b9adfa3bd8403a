package quote

import "github.com/confcom/confcom/sgx"

// Sizes and offsets in bytes of the fixed part of an SGX quote of version 3 or 4
// (sgx_quote3_t of sgx_quote_3.h, sgx_quote4_t of sgx_quote_4.h). Programs that check
// or patch a quote without parsing it use them; in quotes of version 5 and of trust
// domains the fields after the header are at other offsets.
const (
	// HeaderSize is the length of the header, in every version.
	HeaderSize = 48
	// OffsetReportBody is where the report body of the enclave starts.
	OffsetReportBody = HeaderSize
	// OffsetSignatureDataLen is where the length of the signature data is: a uint32.
	// The bytes before it, header and report body, are signed.
	OffsetSignatureDataLen = OffsetReportBody + sgx.ReportBodySize
	// OffsetSignatureData is where the signature data starts, with the signature. The
	// quote ends where the signature data ends.
	OffsetSignatureData = OffsetSignatureDataLen + 4
)
