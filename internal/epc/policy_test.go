package epc

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestFlags(t *testing.T) {
	parse := func(args ...string) (Policy, error) {
		p := Policy{}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		p.AddFlags(flags)
		return p, flags.Parse(args)
	}
	defaults, err := parse()
	if diff := cmp.Diff(Policy{Resource: "kubernetes.azure.com/sgx_epc_mem_in_MiB", Mode: Auto}, defaults); diff != "" || err != nil {
		t.Errorf("by default: %v %s", err, diff)
	}
	all, err := parse("--epc-resource=example.com/epc", "--advertise=devices", "--max-devices=1000", "--kubelet-version=1.36.3", "--reserve-epc=16Mi")
	want := Policy{Resource: "example.com/epc", Mode: Devices, MaxDevices: 1000, Kubelet: "v1.36.3", Reserve: 16 * miB}
	if diff := cmp.Diff(want, all); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// setting is a value that a flag is set to, and what becomes of it: the error
// begins so, or the flag has this value.
type setting struct{ text, want, err string }

// checkSettings sets a new flag to each value.
func checkSettings(t *testing.T, newFlag func() pflag.Value, settings []setting) {
	t.Helper()
	for _, s := range settings {
		flag := newFlag()
		before := flag.String()
		err := flag.Set(s.text)
		switch {
		case s.err == "" && (err != nil || flag.String() != s.want):
			t.Errorf("%q: %q, %v; want %q", s.text, flag, err, s.want)
		case s.err != "" && (err == nil || !strings.HasPrefix(err.Error(), s.err)):
			t.Errorf("%q: %q, %v; want the error %q", s.text, flag, err, s.err)
		case s.err != "" && flag.String() != before:
			t.Errorf("%q is refused, yet the value is %q now", s.text, flag)
		}
	}
}

func TestWaySet(t *testing.T) {
	const nonsense = "not one of auto, devices, node"
	checkSettings(t, func() pflag.Value { return new(Mode) }, []setting{
		{"auto", "auto", ""},
		{"devices", "devices", ""},
		{"node", "node", ""},
		{"", "", nonsense},
		{"Node", "", nonsense},
		{"device", "", nonsense},
		{"auto,node", "", nonsense},
	})
}

func TestDeviceCountSet(t *testing.T) {
	const nonsense = "not a number of devices"
	checkSettings(t, func() pflag.Value { return new(DeviceCount) }, []setting{
		{"0", "0", ""},
		{"1", "1", ""},
		{"8192", "8192", ""},
		{"262144", "262144", ""},
		{"262145", "", "more than 262144 devices do not fit into the message that a kubelet accepts"},
		{"", "", nonsense},
		{"-1", "", nonsense},
		{"1e3", "", nonsense},
		{"1.5", "", nonsense},
		{"8Ki", "", nonsense},
		{"all", "", nonsense},
		{"99999999999999999999", "", nonsense},
	})
}

func TestKubeletVersionSet(t *testing.T) {
	const nonsense = "not a version such as 1.37 or v1.36.3"
	checkSettings(t, func() pflag.Value { return new(KubeletVersion) }, []setting{
		{"", "", ""},
		{"1.37", "v1.37", ""},
		{"v1.37", "v1.37", ""},
		{"1.36.3", "v1.36.3", ""},
		{"v1.35.9-gke.100", "v1.35.9-gke.100", ""},
		{"v1.36.2+k3s1", "v1.36.2+k3s1", ""},
		{"v1.37.0-alpha.1.23+0123456789abcd", "v1.37.0-alpha.1.23+0123456789abcd", ""},
		{"1", "", nonsense},
		{"v1", "", nonsense},
		{"v", "", nonsense},
		{"vv1.37", "", nonsense},
		{"1.", "", nonsense},
		{"1.37.", "", nonsense},
		{"1.37.0.1", "", nonsense},
		{"1.036", "", nonsense},
		{"1.36+", "", nonsense},
		{"newest", "", nonsense},
		{" 1.37", "", nonsense},
	})
}

func TestResourceNameSet(t *testing.T) {
	const (
		nonsense = "not the name of an extended resource, such as example.com/epc: "
		own      = "the domain "
	)
	label, domain := strings.Repeat("a", 63), strings.Repeat("a.", 121)+"a" // 243 bytes; quotas put "requests." in front
	checkSettings(t, func() pflag.Value { return new(ResourceName) }, []setting{
		{"kubernetes.azure.com/sgx_epc_mem_in_MiB", "kubernetes.azure.com/sgx_epc_mem_in_MiB", ""},
		{"sgx.intel.com/epc", "sgx.intel.com/epc", ""},
		{"kubernetes.io.example.com/epc", "kubernetes.io.example.com/epc", ""},
		{domain + "/" + label, domain + "/" + label, ""},
		{"", "", nonsense + "it has no domain"},
		{"epc", "", nonsense + "it has no domain"},
		{"memory", "", nonsense + "it has no domain"},
		{"/epc", "", nonsense},
		{"example.com/", "", nonsense},
		{"example.com/a/b", "", nonsense},
		{"example.com/sgx epc", "", nonsense},
		{"example.com/-epc", "", nonsense},
		{"Example.com/epc", "", nonsense},
		{"example_com/epc", "", nonsense},
		{"example.com/" + label + "a", "", nonsense},
		{domain + ".a/epc", "", nonsense},
		{"kubernetes.io/epc", "", own + "kubernetes.io is Kubernetes' own"},
		{"node.kubernetes.io/epc", "", own + "node.kubernetes.io is Kubernetes' own"},
		// The kubelet looks for "kubernetes.io/" anywhere.
		{"mykubernetes.io/epc", "", own + "mykubernetes.io is Kubernetes' own"},
		{"requests.example.com/epc", "", own + "requests.example.com is Kubernetes' own"},
	})
}
