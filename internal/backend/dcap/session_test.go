package dcap

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// The helper checks whose quote it is, and leaves everything else to verifiers.
func TestCheckQuote(t *testing.T) {
	report := sgx.Report{Body: sgx.ReportBody{MREnclave: sgx.Measurement{1}}}
	body, err := report.Body.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	made := slices.Concat(make([]byte, quote.HeaderSize), body, []byte{8, 0, 0, 0}, make([]byte, 8))
	const reserved = quote.OffsetReportBody + 20 // of sgx_report_body_t, in the quote
	newer := bytes.Clone(made)
	newer[reserved] = 1
	newerReport := report
	if err := newerReport.Body.UnmarshalBinary(newer[quote.OffsetReportBody:quote.OffsetSignatureDataLen]); err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(made)
	other[quote.OffsetReportBody]++

	for _, c := range []struct {
		name   string
		data   []byte
		report sgx.Report
		want   error
	}{
		{"exact", made, report, nil},
		{"padded", append(bytes.Clone(made), make([]byte, 100)...), report, nil},
		{"reserved bytes of a newer processor", newer, newerReport, nil},
		{"of another report", other, report, errOtherReport},
		{"one byte short", made[:len(made)-1], report, quote.ErrTruncated},
		{"without signature data", made[:quote.OffsetSignatureDataLen], report, quote.ErrTruncated},
		{"empty", nil, report, quote.ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := checkQuote(c.data, c.report)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && !bytes.Equal(got, c.data[:len(made)]) {
				t.Errorf("got %d bytes, want %d", len(got), len(made))
			}
		})
	}
}
