package aesm

import (
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// NonceSize and QEReportInfoSize are lengths in bytes.
const (
	NonceSize        = 16
	QEReportInfoSize = NonceSize + sgx.TargetInfoSize + sgx.ReportSize // 960
)

// Offsets in a QEReportInfo.
const (
	offQETarget = NonceSize
	offQEReport = NonceSize + sgx.TargetInfoSize
)

// Challenge asks the quoting enclave for a report of its own. The report proves to
// the caller's enclave that a genuine quoting enclave on the same processor made the
// quote.
type Challenge struct {
	// Nonce is a fresh random number.
	Nonce [NonceSize]byte
	// Target is the enclave that will verify the report.
	Target sgx.TargetInfo
}

// QEReportInfo is a challenge and the report that answers it, an
// sgx_ql_qe_report_info_t of Intel's DCAP headers: 960 bytes.
type QEReportInfo struct {
	Challenge
	// Report is the quoting enclave's report. The first 32 bytes of its report data
	// are SHA-256(nonce || quote), over the quote without padding; the rest is zero.
	Report sgx.Report
}

// AppendBinary appends the 960 bytes of the structure. The error is always nil.
func (i QEReportInfo) AppendBinary(p []byte) ([]byte, error) {
	p = append(p, i.Nonce[:]...)
	p, _ = i.Target.AppendBinary(p)
	return i.Report.AppendBinary(p)
}

// MarshalBinary returns the 960 bytes of the structure. The error is always nil.
func (i QEReportInfo) MarshalBinary() ([]byte, error) {
	return i.AppendBinary(make([]byte, 0, QEReportInfoSize))
}

// UnmarshalBinary parses a structure of exactly 960 bytes. For any other length it
// returns a *sgx.SizeError.
func (i *QEReportInfo) UnmarshalBinary(p []byte) error {
	if len(p) != QEReportInfoSize {
		return fmt.Errorf("aesm: %w", &sgx.SizeError{Structure: "QE report info", Got: len(p), Want: QEReportInfoSize})
	}
	copy(i.Nonce[:], p)
	if err := i.Target.UnmarshalBinary(p[offQETarget:offQEReport]); err != nil {
		return err
	}
	return i.Report.UnmarshalBinary(p[offQEReport:])
}
