package tdx_test

import (
	"fmt"

	"github.com/confcom/confcom/tdx"
)

func ExampleReportBody() {
	data := make([]byte, tdx.ReportBody10Size) // the body of a TDX 1.0 quote
	data[tdx.OffsetTDAttributes] = 0x01        // DEBUG
	data[tdx.OffsetMRTD] = 0xab

	var body tdx.ReportBody
	if err := body.UnmarshalBinary(data); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("MRTD starts with", body.MRTD.String()[:4])
	fmt.Println("debug trust domain:", body.TDAttributes.Debug())
	fmt.Println(body.UnmarshalBinary(data[:100]))
	// Output:
	// MRTD starts with ab00
	// debug trust domain: true
	// tdx: unmarshal report body: 100 bytes, want 584 (TDX 1.0), 648 (TDX 1.5) or 885 (TDX 1.5 extended)
}
