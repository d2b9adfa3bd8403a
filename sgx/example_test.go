package sgx_test

import (
	"fmt"

	"github.com/confcom/confcom/sgx"
)

func ExampleReport() {
	data := make([]byte, sgx.ReportSize) // the bytes that EREPORT wrote
	data[sgx.OffsetAttributes] = 0x07    // INIT, DEBUG, MODE64BIT

	var report sgx.Report
	if err := report.UnmarshalBinary(data); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Body.Attributes.Flags)
	fmt.Println("debug enclave:", report.Body.Attributes.Debug())
	// Output:
	// INIT|DEBUG|MODE64BIT
	// debug enclave: true
}
