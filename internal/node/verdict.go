package node

// Verdict is whether pods can use the SGX of a machine, and if not, what is missing
// and what to do about it.
type Verdict struct {
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
	Advice  string `json:"advice,omitempty"`
}

// Verdict returns the verdict on the inventory.
func (inv Inventory) Verdict() Verdict {
	missing := func(problem, advice string) Verdict { return Verdict{Problem: problem, Advice: advice} }
	p := inv.Processor
	switch {
	case inv.Usable():
		return Verdict{Ready: true}
	case inv.Enclave != nil:
		return missing("the SGX device exists, but neither the kernel nor CPUID reports any EPC",
			"look for 'sgx' in the kernel log (dmesg); assign EPC to a virtual machine on its host")
	case p == nil && inv.EPC() == 0:
		return missing("no EPC and no SGX device found",
			"run this on the machine itself, where CPUID can be read")
	case p != nil && !p.SGX:
		return missing("the processor has no SGX, or the hypervisor hides it from this virtual machine",
			"use a machine with SGX, such as an Azure DCsv3 or a Xeon of the third generation or later, or simulate EPC")
	case p != nil && !p.SGX1:
		return missing("the processor has SGX, but it is switched off",
			"set SGX to enabled, not \"software controlled\", in the firmware setup (BIOS), and reserve memory for it (PRMRR size)")
	case inv.EPC() == 0:
		return missing("the processor has SGX, but no EPC",
			"reserve memory for SGX in the firmware setup (PRMRR size); assign EPC to a virtual machine on its host")
	case p != nil && !p.FLC:
		return missing("the machine has EPC, but no SGX driver, and the in-kernel driver needs Flexible Launch Control, which is missing or switched off",
			"enable Flexible Launch Control in the firmware setup (BIOS); without it, only Intel's driver isgx works")
	case len(inv.NUMANodes()) > 0:
		return missing("the kernel manages EPC, but the enclave device does not exist",
			"in a container, mount the host's /dev; on the machine itself, check the udev rules, and look for 'sgx' in the kernel log (dmesg)")
	default:
		return missing("the machine has EPC, but no SGX driver: none of the SGX devices exists",
			"use Linux 5.11 or newer with CONFIG_X86_SGX, or load Intel's DCAP driver; look for 'sgx' in the kernel log (dmesg)")
	}
}
