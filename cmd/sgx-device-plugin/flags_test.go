package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/deviceplugin"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want deviceplugin.Plugin
	}{
		{"defaults", nil, deviceplugin.Plugin{
			Machine:            node.Machine{Sysroot: "/"},
			Policy:             epc.Policy{Resource: "kubernetes.azure.com/sgx_epc_mem_in_MiB", Mode: epc.Auto},
			Resources:          deviceplugin.ResourceSet{EPC: true},
			Enclave:            "sgx.intel.com/enclave",
			Provision:          "sgx.intel.com/provision",
			SharedDevices:      256,
			Grant:              deviceplugin.Grant{AESMDir: "/var/run/aesmd", CDIDir: "/var/run/cdi"},
			DevicePluginDir:    "/var/lib/kubelet/device-plugins",
			PodResourcesSocket: "/var/lib/kubelet/pod-resources/kubelet.sock",
		}},
		{"all", []string{
			"--epc-resource=example.com/epc", "--advertise=node", "--resources=epc,provision,quote-helper",
			"--enclave-resource=example.com/enclave", "--provision-resource=example.com/provision", "--slots=10",
			"--aesm-dir=/run/aesmd", "--wait-for-quotes=20s", "--legacy-device-paths", "--cdi", "--cdi-dir=/etc/cdi",
			"--device-plugin-dir=/plugins", "--pod-resources-socket=/pods.sock", "--state-dir=/state", "--nfd-features-dir=/nfd", "--enclave-memory", "--sysroot=/host",
		}, deviceplugin.Plugin{
			Machine:            node.Machine{Sysroot: "/host"},
			Policy:             epc.Policy{Resource: "example.com/epc", Mode: epc.Node},
			Resources:          deviceplugin.ResourceSet{EPC: true, Provision: true, QuoteHelper: true},
			Enclave:            "example.com/enclave",
			Provision:          "example.com/provision",
			SharedDevices:      10,
			Grant:              deviceplugin.Grant{AESMDir: "/run/aesmd", LegacyPaths: true, CDI: true, CDIDir: "/etc/cdi"},
			QuoteWait:          deviceplugin.QuoteWait{Timeout: 20 * time.Second},
			DevicePluginDir:    "/plugins",
			PodResourcesSocket: "/pods.sock",
			StateDir:           "/state",
			NFDDir:             "/nfd",
			EnclaveMemory:      true,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got deviceplugin.Plugin
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			addFlags(flags, &got)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
