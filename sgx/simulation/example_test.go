package simulation_test

import (
	"fmt"

	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func ExampleCPU() {
	cpu := simulation.DefaultCPU()
	quotingEnclave := sgx.TargetInfo{MREnclave: sgx.Measurement{0xee}}
	mine := sgx.ReportBody{MREnclave: sgx.Measurement{1}, ReportData: sgx.ReportData{2}}

	report, err := cpu.Report(mine, quotingEnclave)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("as made:", cpu.Verify(report, quotingEnclave) == nil)
	report.Body.ReportData = sgx.ReportData{3}
	fmt.Println("modified:", cpu.Verify(report, quotingEnclave) == nil)
	// Output:
	// as made: true
	// modified: false
}
