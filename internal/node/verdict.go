package node

// Verdict says whether pods can use the SGX of a machine, or else what exactly
// is missing and what to do about it.
type Verdict struct {
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
	Advice  string `json:"advice,omitempty"`
}

// Verdict judges the inventory.
func (inv Inventory) Verdict() Verdict {
	missing := func(problem, advice string) Verdict { return Verdict{Problem: problem, Advice: advice} }
	p := inv.Processor
	switch {
	case inv.Usable():
		return Verdict{Ready: true}
	case inv.Enclave != nil:
		return missing("the SGX device is there, but neither the kernel nor CPUID tells of any EPC",
			"look for 'sgx' in the kernel's log (dmesg); on a virtual machine, give it EPC on its host")
	case p == nil && inv.EPC() == 0:
		return missing("there is neither EPC nor an SGX device",
			"run this on the machine itself, so that the processor can be asked as well")
	case p != nil && !p.SGX:
		return missing("this processor has no SGX, or does not show it to this virtual machine",
			"use a machine with SGX, such as an Azure DCsv3 or a Xeon of the third generation or later, or pretend with --simulate-epc")
	case p != nil && !p.SGX1:
		return missing("the processor has SGX, but it is switched off",
			"enable SGX in the firmware's setup (BIOS), not as \"software controlled\", and give it memory (PRMRR size)")
	case inv.EPC() == 0:
		return missing("the processor has SGX, but there is no EPC",
			"give it memory in the firmware's setup (PRMRR size); on a virtual machine, give it EPC on its host")
	case p != nil && !p.FLC:
		return missing("there is EPC, but no SGX driver, and the one of Linux needs Flexible Launch Control, which this machine lacks or has switched off",
			"enable Flexible Launch Control in the firmware's setup (BIOS); without it only Intel's driver isgx works")
	case len(inv.NUMANodes()) > 0:
		return missing("the kernel manages EPC, but the device to make enclaves with is not there",
			"in a container, mount the host's /dev; on the machine itself, look at the rules of udev, and for 'sgx' in the kernel's log (dmesg)")
	default:
		return missing("there is EPC, but no SGX driver: none of its devices is there",
			"use Linux 5.11 or newer with CONFIG_X86_SGX, or load Intel's DCAP driver; look for 'sgx' in the kernel's log (dmesg)")
	}
}
