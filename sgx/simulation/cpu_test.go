package simulation_test

import (
	"errors"
	"testing"

	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// quotingEnclave is the target of the known answer, which the SDK's own code made.
func quotingEnclave() sgx.TargetInfo {
	var t sgx.TargetInfo
	for i := range t.MREnclave {
		t.MREnclave[i] = 0xee
	}
	t.Attributes = sgx.Attributes{Flags: sgx.FlagInit, XFRM: 3}
	return t
}

func application() sgx.ReportBody {
	b := sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagDebug | sgx.FlagMode64Bit, XFRM: 3},
		ISVProdID:  5,
		ISVSVN:     9,
	}
	for i := range b.MREnclave {
		b.MREnclave[i] = byte(i)
		b.MRSigner[i] = byte(0x20 + i)
	}
	for i := range b.ReportData {
		b.ReportData[i] = byte(i)
	}
	return b
}

// The Intel SDK's deriv.cpp computes the same MAC for the same input.
func TestReportKnownAnswer(t *testing.T) {
	report, err := simulation.DefaultCPU().Report(application(), quotingEnclave())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := report.MAC.String(), "800c1a0ef661b7f97e2480c6efd93df6"; got != want {
		t.Errorf("MAC %s, want %s", got, want)
	}
	if got, want := report.KeyID.String(), "ff00ff00ff00ff00ff00ff00ff00ff0000000000000000000000000000000000"; got != want {
		t.Errorf("key ID %s, want %s", got, want)
	}
	if got, want := report.Body.CPUSVN.String(), "4820f3376ae6b2f2034d3b7a4b48a778"; got != want {
		t.Errorf("CPUSVN %s, want %s", got, want)
	}
}

// The target has a value in each field that the report key depends on. The MACs, one
// for each processor, were computed with another implementation of CMAC and the
// SDK's layout.
func TestReportKeyUsesWholeTarget(t *testing.T) {
	target := quotingEnclave()
	target.Attributes = sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit | sgx.FlagKSS, XFRM: 0xe7}
	target.MiscSelect = 0x01020304
	target.ConfigSVN = 0x0506
	for i := range target.ConfigID {
		target.ConfigID[i] = byte(0x40 + i)
	}
	for svn, want := range map[string]string{
		"4820f3376ae6b2f2034d3b7a4b48a778": "1b98c4bc7ead2a24d66e67632926f803",
		"5339ae8c93ae8f3ce432db924d0f0733": "f19883933721a7ea935df0914c9886f0",
		"64ea4f3fa0030c36383c322d4f3a8d4f": "97fb306ddc1e81bdc23e663677c63030",
	} {
		var body sgx.ReportBody
		if err := body.CPUSVN.UnmarshalText([]byte(svn)); err != nil {
			t.Fatal(err)
		}
		cpu, err := simulation.CPUOf(sgx.Report{Body: body})
		if err != nil {
			t.Fatal(err)
		}
		app := application()
		app.Attributes.Flags &^= sgx.FlagInit // the processor sets it
		report, err := cpu.Report(app, target)
		if err != nil {
			t.Fatal(err)
		}
		if report.MAC.String() != want || report.Body.CPUSVN.String() != svn {
			t.Errorf("CPUSVN %s: MAC %s on %s, want %s", svn, report.MAC, report.Body.CPUSVN, want)
		}
	}
}

func TestVerify(t *testing.T) {
	genuine, err := simulation.DefaultCPU().Report(application(), quotingEnclave())
	if err != nil {
		t.Fatal(err)
	}
	if err := simulation.DefaultCPU().Verify(genuine, quotingEnclave()); err != nil {
		t.Errorf("unmodified report: %v", err)
	}
	for name, change := range map[string]func(*sgx.Report, *sgx.TargetInfo){
		"MAC":               func(r *sgx.Report, _ *sgx.TargetInfo) { r.MAC[15] ^= 1 },
		"key ID":            func(r *sgx.Report, _ *sgx.TargetInfo) { r.KeyID[31] ^= 1 },
		"report data":       func(r *sgx.Report, _ *sgx.TargetInfo) { r.Body.ReportData[63] ^= 1 },
		"MRENCLAVE":         func(r *sgx.Report, _ *sgx.TargetInfo) { r.Body.MREnclave[0] ^= 1 },
		"debug flag":        func(r *sgx.Report, _ *sgx.TargetInfo) { r.Body.Attributes.Flags ^= sgx.FlagDebug },
		"target":            func(_ *sgx.Report, t *sgx.TargetInfo) { t.MREnclave[0] ^= 1 },
		"target attributes": func(_ *sgx.Report, t *sgx.TargetInfo) { t.Attributes.XFRM = 7 },
		"target misc":       func(_ *sgx.Report, t *sgx.TargetInfo) { t.MiscSelect = 1 },
		"target config SVN": func(_ *sgx.Report, t *sgx.TargetInfo) { t.ConfigSVN = 1 },
		"target config ID":  func(_ *sgx.Report, t *sgx.TargetInfo) { t.ConfigID[63] = 1 },
	} {
		report, target := genuine, quotingEnclave()
		change(&report, &target)
		if err := simulation.DefaultCPU().Verify(report, target); !errors.Is(err, simulation.ErrMAC) {
			t.Errorf("modified %s: %v", name, err)
		}
	}
}

func TestCPUOf(t *testing.T) {
	report, err := simulation.DefaultCPU().Report(application(), quotingEnclave())
	if err != nil {
		t.Fatal(err)
	}
	if cpu, err := simulation.CPUOf(report); err != nil || cpu != simulation.DefaultCPU() {
		t.Errorf("%+v, %v", cpu, err)
	}
	report.Body.CPUSVN = sgx.CPUSVN{1}
	if _, err := simulation.CPUOf(report); err == nil {
		t.Error("CPUOf accepted an unknown CPUSVN")
	}
}
