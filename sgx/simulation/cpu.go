package simulation

import (
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// CPU is a software processor. Get one from DefaultCPU or CPUOf; the zero value
// is not useful.
type CPU struct {
	svn sgx.CPUSVN
}

// DefaultCPU returns the processor that the Intel SDK simulates by default.
func DefaultCPU() CPU { return CPU{svn: knownCPUSVNs()[0]} }

// knownCPUSVNs returns the security versions of the SDK's rts_sim.h: the default,
// that after an upgrade, and that after a downgrade.
func knownCPUSVNs() [3]sgx.CPUSVN {
	return [3]sgx.CPUSVN{
		{0x48, 0x20, 0xf3, 0x37, 0x6a, 0xe6, 0xb2, 0xf2, 0x03, 0x4d, 0x3b, 0x7a, 0x4b, 0x48, 0xa7, 0x78},
		{0x53, 0x39, 0xae, 0x8c, 0x93, 0xae, 0x8f, 0x3c, 0xe4, 0x32, 0xdb, 0x92, 0x4d, 0x0f, 0x07, 0x33},
		{0x64, 0xea, 0x4f, 0x3f, 0xa0, 0x03, 0x0c, 0x36, 0x38, 0x3c, 0x32, 0x2d, 0x4f, 0x3a, 0x8d, 0x4f},
	}
}

// CPUOf returns the processor with the security version in report, which must be
// one of the three that the SDK simulates. It does not check the report's MAC.
func CPUOf(report sgx.Report) (CPU, error) {
	for _, svn := range knownCPUSVNs() {
		if report.Body.CPUSVN == svn {
			return CPU{svn: svn}, nil
		}
	}
	return CPU{}, fmt.Errorf("sgx/simulation: no simulated processor has CPUSVN %s", report.Body.CPUSVN)
}

// SVN returns the processor's security version.
func (c CPU) SVN() sgx.CPUSVN { return c.svn }

// Report is the EREPORT instruction. It writes a report on the enclave that body
// describes, for the enclave that target describes. As in hardware, the processor
// fills in the CPUSVN of body and sets the INIT flag.
func (c CPU) Report(body sgx.ReportBody, target sgx.TargetInfo) (sgx.Report, error) {
	body.CPUSVN = c.svn
	body.Attributes.Flags |= sgx.FlagInit
	report := sgx.Report{Body: body}
	base := reportBaseKey()
	copy(report.KeyID[:], base[:]) // the SDK's choice; the rest is zero
	mac, err := c.mac(report, target)
	if err != nil {
		return sgx.Report{}, err
	}
	report.MAC = mac
	return report, nil
}
