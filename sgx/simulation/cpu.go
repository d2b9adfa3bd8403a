package simulation

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	prf "github.com/tink-crypto/tink-go/v2/prf/subtle"

	"github.com/confcom/confcom/sgx"
)

// ErrMAC says that a report was not made on this processor for this target, or
// was changed since.
var ErrMAC = errors.New("the report's MAC does not fit: it is not of this platform, not for this target, or was changed")

// CPU is a software processor. The zero value is not useful; DefaultCPU is.
type CPU struct {
	svn sgx.CPUSVN
}

// DefaultCPU returns the processor that the Intel SDK simulates where nothing
// else is configured.
func DefaultCPU() CPU { return CPU{svn: knownCPUSVNs()[0]} }

// knownCPUSVNs lists the security versions of the SDK's rts_sim.h: the default
// one, then those after an upgrade and after a downgrade.
func knownCPUSVNs() [3]sgx.CPUSVN {
	return [3]sgx.CPUSVN{
		{0x48, 0x20, 0xf3, 0x37, 0x6a, 0xe6, 0xb2, 0xf2, 0x03, 0x4d, 0x3b, 0x7a, 0x4b, 0x48, 0xa7, 0x78},
		{0x53, 0x39, 0xae, 0x8c, 0x93, 0xae, 0x8f, 0x3c, 0xe4, 0x32, 0xdb, 0x92, 0x4d, 0x0f, 0x07, 0x33},
		{0x64, 0xea, 0x4f, 0x3f, 0xa0, 0x03, 0x0c, 0x36, 0x38, 0x3c, 0x32, 0x2d, 0x4f, 0x3a, 0x8d, 0x4f},
	}
}

// CPUOf returns the processor that wrote report: one of the three security
// versions that the SDK simulates.
func CPUOf(report sgx.Report) (CPU, error) {
	for _, svn := range knownCPUSVNs() {
		if report.Body.CPUSVN == svn {
			return CPU{svn: svn}, nil
		}
	}
	return CPU{}, fmt.Errorf("sgx/simulation: CPUSVN %s is of no simulated processor", report.Body.CPUSVN)
}

// SVN returns the processor's security version.
func (c CPU) SVN() sgx.CPUSVN { return c.svn }

// Report is the EREPORT instruction: it writes a report of the enclave that
// body describes, for the enclave that target describes. The processor itself
// fills in body's CPUSVN and sets the INIT flag.
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

// Verify is what an enclave does with EGETKEY to check a report that was made
// for it: self describes that enclave. The error is ErrMAC when the report is
// not genuine.
func (c CPU) Verify(report sgx.Report, self sgx.TargetInfo) error {
	mac, err := c.mac(report, self)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(mac[:], report.MAC[:]) != 1 {
		return ErrMAC
	}
	return nil
}

// mac returns the MAC of report's body under the report key of target.
func (c CPU) mac(report sgx.Report, target sgx.TargetInfo) (sgx.MAC, error) {
	key, err := c.reportKey(report.KeyID, target)
	if err != nil {
		return sgx.MAC{}, err
	}
	body, _ := report.Body.MarshalBinary()
	return cmac(key, body)
}

// keyDependencies is the size in bytes of the SDK's derivation_data_t for a
// report key, as a C compiler lays it out.
const keyDependencies = 192

// reportKey derives the report key of target (deriv.cpp, DeriveReportKey).
func (c CPU) reportKey(id sgx.KeyID, target sgx.TargetInfo) (sgx.MAC, error) {
	const keyNameReport = 3
	var d [keyDependencies]byte
	binary.LittleEndian.PutUint16(d[0:], keyNameReport)
	binary.LittleEndian.PutUint64(d[8:], uint64(target.Attributes.Flags))
	binary.LittleEndian.PutUint64(d[16:], uint64(target.Attributes.XFRM))
	binary.LittleEndian.PutUint32(d[24:], target.MiscSelect)
	copy(d[28:44], "THISISOWNEREPOCH")
	copy(d[44:76], target.MREnclave[:])
	copy(d[76:92], c.svn[:])
	binary.LittleEndian.PutUint16(d[92:], target.ConfigSVN)
	copy(d[94:158], target.ConfigID[:])
	copy(d[158:190], id[:])
	return cmac(reportBaseKey(), d[:])
}

// reportBaseKey is the constant of rts_sim.h that stands for the processor's
// fused secret.
func reportBaseKey() sgx.MAC {
	return sgx.MAC{0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00}
}

// cmac is AES-128-CMAC. Keys and MACs are both 16 bytes, and a key is itself a
// MAC, hence the one type.
func cmac(key sgx.MAC, data []byte) (sgx.MAC, error) {
	p, err := prf.NewAESCMACPRF(key[:])
	if err != nil {
		return sgx.MAC{}, fmt.Errorf("sgx/simulation: %w", err)
	}
	sum, err := p.ComputePRF(data, uint32(len(sgx.MAC{})))
	if err != nil {
		return sgx.MAC{}, fmt.Errorf("sgx/simulation: %w", err)
	}
	return sgx.MAC(sum), nil
}
