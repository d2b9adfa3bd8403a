package quote

import (
	"encoding/binary"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

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

// Trim returns the SGX quote of version 3 or 4 at the start of data, without the bytes
// after it: daemons return quotes in buffers that are larger. It reads only the length
// of the signature data, so it also trims quotes that Parse refuses.
func Trim(data []byte) ([]byte, error) {
	if len(data) < OffsetSignatureData {
		return nil, fmt.Errorf("quote: %w: %d bytes, want at least %d", ErrTruncated, len(data), OffsetSignatureData)
	}
	size := OffsetSignatureData + int64(binary.LittleEndian.Uint32(data[OffsetSignatureDataLen:]))
	if size > int64(len(data)) {
		return nil, fmt.Errorf("quote: %w: %d bytes, want %d by the length of the signature data", ErrTruncated, len(data), size)
	}
	return data[:size:size], nil
}
