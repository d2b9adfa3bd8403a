package epc

import (
	"encoding"
	"strings"
	"testing"
)

// text is a type that reads itself from text, such as the value of a flag.
type text interface {
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

// parsing is a text and the outcome: an error that begins with err, or a value
// whose own text is want.
type parsing struct{ text, want, err string }

// checkParsing unmarshals each text into a new value.
func checkParsing(t *testing.T, newValue func() text, cases []parsing) {
	t.Helper()
	marshal := func(v text) string {
		t.Helper()
		b, err := v.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range cases {
		value := newValue()
		before := marshal(value)
		err := value.UnmarshalText([]byte(c.text))
		after := marshal(value)
		switch {
		case c.err == "" && (err != nil || after != c.want):
			t.Errorf("%q: value %q, error %v; want value %q", c.text, after, err, c.want)
		case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)):
			t.Errorf("%q: value %q, error %v; want error %q", c.text, after, err, c.err)
		case c.err != "" && after != before:
			t.Errorf("%q: value changed from %q to %q despite the error", c.text, before, after)
		}
	}
}

func TestMode(t *testing.T) {
	const nonsense = "not one of auto, devices, node"
	checkParsing(t, func() text { return new(Mode) }, []parsing{
		{"auto", "auto", ""},
		{"devices", "devices", ""},
		{"node", "node", ""},
		{"", "", nonsense},
		{"Node", "", nonsense},
		{"device", "", nonsense},
		{"auto,node", "", nonsense},
	})
}

func TestDeviceCount(t *testing.T) {
	const nonsense = "not a number of devices"
	checkParsing(t, func() text { return new(DeviceCount) }, []parsing{
		{"0", "0", ""},
		{"1", "1", ""},
		{"8192", "8192", ""},
		{"262144", "262144", ""},
		{"262145", "", "more than 262144 devices exceed the message size that a kubelet accepts"},
		{"", "", nonsense},
		{"-1", "", nonsense},
		{"1e3", "", nonsense},
		{"1.5", "", nonsense},
		{"8Ki", "", nonsense},
		{"all", "", nonsense},
		{"99999999999999999999", "", nonsense},
	})
}

func TestKubeletVersion(t *testing.T) {
	const nonsense = "not a version such as 1.37 or v1.36.3"
	checkParsing(t, func() text { return new(KubeletVersion) }, []parsing{
		{"", "", ""},
		{"1.37", "v1.37", ""},
		{"1.37.0-rc.1", "v1.37.0-rc.1", ""},
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
		{"1.36-rc.1", "", nonsense},
		{"1.37.0-01", "", nonsense},
		{"newest", "", nonsense},
		{"1.37 ", "", nonsense},
		{" 1.37", "", nonsense},
	})
}

func TestResourceName(t *testing.T) {
	const (
		nonsense = "not the name of an extended resource, such as example.com/epc: "
		reserved = "the domain "
	)
	label, domain := strings.Repeat("a", 63), strings.Repeat("a.", 121)+"a" // 243 bytes: quotas prefix "requests."
	checkParsing(t, func() text { return new(ResourceName) }, []parsing{
		{"kubernetes.azure.com/sgx_epc_mem_in_MiB", "kubernetes.azure.com/sgx_epc_mem_in_MiB", ""},
		{"sgx.intel.com/enclave", "sgx.intel.com/enclave", ""},
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
		{"sgx.intel.com/epc", "", "sgx.intel.com/epc counts bytes, which no resource here does: use another name"},
		{"kubernetes.io/epc", "", reserved + "kubernetes.io is reserved for Kubernetes"},
		{"node.kubernetes.io/epc", "", reserved + "node.kubernetes.io is reserved for Kubernetes"},
		// The kubelet looks for "kubernetes.io/" anywhere.
		{"mykubernetes.io/epc", "", reserved + "mykubernetes.io is reserved for Kubernetes"},
		{"requests.example.com/epc", "", reserved + "requests.example.com is reserved for Kubernetes"},
	})
}
