package evidence

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/confcom/confcom/quote"
)

// An Open Enclave report is oe_report_header_t of openenclave/internal/report.h (version,
// type: uint32; size: uint64), then a quote. EGo's remote reports are the same.
const (
	reportHeaderSize    = 4 + 4 + 8
	reportHeaderVersion = 1
	reportLocal         = 1
	reportRemote        = 2
)

// Open Enclave evidence is oe_attestation_header_t of common/attest_plugin.h (version:
// uint32; format: 16 bytes; size: uint64), then data whose layout depends on the format.
const (
	evidenceHeaderSize    = 4 + 16 + 8
	evidenceHeaderVersion = 3
)

// The formats of openenclave/attestation/sgx/evidence.h and tdx/evidence.h.
type formatID [16]byte

func formatSGXECDSA() formatID {
	return formatID{0xa3, 0xa2, 0x1e, 0x87, 0x1b, 0x4d, 0x40, 0x14, 0xb7, 0x0a, 0xa1, 0x25, 0xd2, 0xfb, 0xcd, 0x8c}
}

func formatLegacyReport() formatID {
	return formatID{0xc8, 0x30, 0x34, 0x54, 0xd9, 0x23, 0x4c, 0x2c, 0xa6, 0x91, 0xdf, 0x7d, 0xef, 0x46, 0x0a, 0x76}
}

func formatRawQuote() formatID {
	return formatID{0x19, 0x23, 0xd9, 0x1e, 0x12, 0xd2, 0x4c, 0x72, 0xb2, 0x20, 0x25, 0xcd, 0x8d, 0xac, 0xe8, 0x71}
}

func formatTDXECDSA() formatID {
	return formatID{0x8b, 0xa7, 0x02, 0x86, 0xc1, 0xcf, 0x11, 0xed, 0xaf, 0xa1, 0x02, 0x42, 0xac, 0x12, 0x00, 0x02}
}

func formatLocal() formatID {
	return formatID{0x09, 0x26, 0x8c, 0x33, 0x6e, 0x0b, 0x45, 0xe5, 0x8a, 0x27, 0x15, 0x64, 0x4d, 0x0e, 0xf8, 0x9a}
}

func formatEPIDLinkable() formatID {
	return formatID{0xf2, 0x28, 0xaa, 0x3f, 0xde, 0x4d, 0x49, 0xd3, 0x88, 0x4c, 0xb2, 0xaa, 0x87, 0xa5, 0x0d, 0xa6}
}

func formatEPIDUnlinkable() formatID {
	return formatID{0x5c, 0x35, 0xd2, 0x90, 0xa2, 0xc2, 0x4c, 0x55, 0x9e, 0x13, 0x5a, 0xd7, 0x32, 0x74, 0x6c, 0x88}
}

func (f formatID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", f[0:4], f[4:6], f[6:8], f[8:10], f[10:16])
}

// isOpenEnclaveReport reports whether data starts with the header of a report. The zeros in
// its size tell it from an EPID quote, which has its measurements there.
func isOpenEnclaveReport(data []byte) bool {
	if len(data) < reportHeaderSize || binary.LittleEndian.Uint32(data) != reportHeaderVersion {
		return false
	}
	kind, size := binary.LittleEndian.Uint32(data[4:]), binary.LittleEndian.Uint64(data[8:])
	return (kind == reportLocal || kind == reportRemote) && size <= MaxSize
}

func parseOpenEnclaveReport(data []byte) (*Evidence, error) {
	body, err := sized(data[reportHeaderSize:], binary.LittleEndian.Uint64(data[8:]))
	if err != nil {
		return nil, locate(err, FormOpenEnclaveReport)
	}
	if binary.LittleEndian.Uint32(data[4:]) == reportLocal {
		return nil, looksLike("an Open Enclave report for local attestation, which holds an SGX REPORT",
			"only its target enclave can check it; get a report for remote attestation")
	}
	e, err := expectQuote(body)
	return in(FormOpenEnclaveReport, e, err)
}

// isOpenEnclaveEvidence reports whether data starts with the header of evidence of a known
// format.
func isOpenEnclaveEvidence(data []byte) bool {
	if len(data) < evidenceHeaderSize || binary.LittleEndian.Uint32(data) != evidenceHeaderVersion {
		return false
	}
	return isOpenEnclaveFormat(formatID(data[4:20]))
}

func isOpenEnclaveFormat(id formatID) bool {
	switch id {
	case formatSGXECDSA(), formatLegacyReport(), formatRawQuote(), formatTDXECDSA(), formatLocal(), formatEPIDLinkable(), formatEPIDUnlinkable():
		return true
	}
	return false
}

func parseOpenEnclaveEvidence(data []byte) (*Evidence, error) {
	body, err := sized(data[evidenceHeaderSize:], binary.LittleEndian.Uint64(data[20:]))
	if err != nil {
		return nil, locate(err, FormOpenEnclaveEvidence)
	}
	var e *Evidence
	switch format := formatID(data[4:20]); format {
	case formatSGXECDSA():
		e, err = parseQuoteWithClaims(body)
	case formatLegacyReport():
		if !isOpenEnclaveReport(body) {
			return nil, locate(fmt.Errorf("%w: format %s without a report", ErrMalformed, format), FormOpenEnclaveEvidence)
		}
		e, err = parseOpenEnclaveReport(body)
	case formatRawQuote(), formatTDXECDSA():
		e, err = expectQuote(body)
	case formatLocal():
		err = looksLike("evidence for local attestation, which holds an SGX REPORT", "only its target enclave can check it")
	default:
		err = looksLikeEPID()
	}
	return in(FormOpenEnclaveEvidence, e, err)
}

// parseQuoteWithClaims reads a quote that is followed by a buffer of custom claims, which may
// be empty. Its length is not stated: it is what is left.
func parseQuoteWithClaims(data []byte) (*Evidence, error) {
	if !isQuote(data) {
		return nil, fmt.Errorf("%w: does not start like a quote", ErrMalformed)
	}
	q, claims, err := quote.ParsePrefix(data)
	if err != nil {
		return nil, malformed(err)
	}
	e := newEvidence(q, data[:len(data)-len(claims)], 0)
	if len(claims) > 0 {
		e = e.with(Attachment{Kind: CustomClaims, Data: bytes.Clone(claims)})
	}
	return e, nil
}

// expectQuote reads a quote where there can be nothing else.
func expectQuote(data []byte) (*Evidence, error) {
	if !isQuote(data) {
		return nil, fmt.Errorf("%w: does not start like a quote: %v", ErrMalformed, describeBinary(data)) // %v: it is not skipped like other data
	}
	return parseQuote(data)
}

// sized returns the size bytes that a header announces. Only padding may follow them.
func sized(data []byte, size uint64) ([]byte, error) {
	if size > uint64(len(data)) {
		return nil, fmt.Errorf("%w: %d bytes after the header, want %d", ErrMalformed, len(data), size)
	}
	if err := checkPadding(data[size:], int(size), "data"); err != nil {
		return nil, err
	}
	return data[:size], nil
}
