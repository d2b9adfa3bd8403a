package daemon

import (
	"strings"
	"testing"
)

func TestClient(t *testing.T) {
	var cluster Networks
	if err := cluster.Set("2001:db8:42::/56, 203.0.113.0/24"); err != nil {
		t.Fatal(err)
	}
	for remote, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"203.0.113.9:80":            "203.0.113.9",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::",
		"[2001:db8:42:f::5:6]:80":   "2001:db8:42:f::5:6", // a pod
		"[2001:db8:42:100::5]:80":   "2001:db8:42:100::",  // outside
		"[fe80::1%eth0]:80":         "fe80::1",
		"[fd00::1:2]:80":            "fd00::1:2",
		"@":                         "invalid IP",
		"":                          "invalid IP",
	} {
		if got := Client(remote, cluster).String(); got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
	if got := Client("[2001:db8:42:f::5:6]:80", nil).String(); got != "2001:db8:42:f::" {
		t.Errorf("without networks: %s", got)
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"2001:db8:42::/56":            "",
		"2001:db8:42::/56,10.0.0.0/8": "",
		"":                            "want networks such as",
		"2001:db8:42::/56,":           "want networks such as",
		"2001:db8:42::":               "want networks such as",
		"2001:db8:42::1/56":           "2001:db8:42::1/56 is not a network: want 2001:db8:42::/56",
		"::ffff:10.0.0.0/104":         "want networks such as",
	} {
		var n Networks
		if err := n.Set(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		} else if err == nil && n.String() != text {
			t.Errorf("%q: %s", text, n)
		}
	}
}
