package epcflags

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// settings are what the flags of this package set.
type settings struct {
	Policy  epc.Policy
	Machine node.Machine
}

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want settings
	}{
		{"defaults", nil, settings{
			epc.Policy{Resource: "kubernetes.azure.com/sgx_epc_mem_in_MiB", Mode: epc.Auto},
			node.Machine{Sysroot: "/"},
		}},
		{"all", []string{
			"--epc-resource=example.com/epc", "--advertise=devices", "--max-devices=1000", "--kubelet-version=1.36.3", "--reserve-epc=16Mi",
			"--sysroot=/host", "--simulate-epc=1Gi", "--simulate-device=/dev/null",
		}, settings{
			epc.Policy{Resource: "example.com/epc", Mode: epc.Devices, MaxDevices: 1000, Kubelet: "v1.36.3", Reserve: 16 * node.MiB},
			node.Machine{Sysroot: "/host", SimulatedEPC: 1024 * node.MiB, SimulatedDevice: "/dev/null"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got settings
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			Add(flags, &got.Policy)
			AddMachine(flags, &got.Machine)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A value that is rejected leaves the setting as it was.
func TestRejectedValue(t *testing.T) {
	for _, arg := range []string{"--epc-resource=epc", "--advertise=both", "--max-devices=-1", "--kubelet-version=new", "--reserve-epc=lots", "--simulate-epc=64MB5"} {
		var got, want settings
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		Add(flags, &got.Policy)
		AddMachine(flags, &got.Machine)
		want = got
		if err := flags.Parse([]string{arg}); err == nil {
			t.Errorf("%s: no error", arg)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", arg, diff)
		}
	}
}
