package epc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/confcom/confcom/internal/node"
)

// DefaultResource is the EPC resource of the AKS add-on, under which existing
// workloads request EPC.
const DefaultResource ResourceName = "kubernetes.azure.com/sgx_epc_mem_in_MiB"

// Policy is how the administrator of a cluster wants EPC to be advertised. The
// zero value is the default but for the name of the resource.
type Policy struct {
	// Resource is the name under which pods request EPC. It counts MiB.
	Resource ResourceName
	// Mode is how EPC becomes a resource; empty is Auto.
	Mode Mode
	// MaxDevices caps the number of devices in mode Devices; 0 leaves the cap to
	// the version of the kubelet.
	MaxDevices DeviceCount
	// Kubelet is the version of the kubelet.
	Kubelet KubeletVersion
	// Reserve is EPC that is never advertised.
	Reserve node.Size
}

// Mode is how EPC becomes a resource.
type Mode string

// The modes.
const (
	// Auto is Node for kubelets since 1.36 with more EPC than they can handle as
	// devices, and Devices otherwise. The API servers of older kubelets may lack the
	// admission policies that mode Node needs.
	Auto    Mode = "auto"
	Devices Mode = "devices"
	Node    Mode = "node"
)

// MarshalText returns the name of the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m), nil }

// UnmarshalText parses the name of a mode.
func (m *Mode) UnmarshalText(text []byte) error {
	switch mode := Mode(text); mode {
	case Auto, Devices, Node:
		*m = mode
		return nil
	}
	return errors.New("not one of auto, devices, node")
}

// DeviceCount is a number of devices, from 0 to MaxDevices.
type DeviceCount int

// MarshalText returns the number in decimal.
func (n DeviceCount) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(n), 10), nil }

// UnmarshalText parses a decimal number of devices.
func (n *DeviceCount) UnmarshalText(text []byte) error {
	count, err := strconv.Atoi(string(text))
	switch {
	case err != nil || count < 0:
		return errors.New("not a number of devices")
	case count > MaxDevices:
		return fmt.Errorf("more than %d devices exceed the message size that a kubelet accepts", MaxDevices)
	}
	*n = DeviceCount(count)
	return nil
}

// KubeletVersion is the version of a kubelet, such as v1.36 or v1.35.9-gke.100.
// The zero value is the newest version.
type KubeletVersion string

// MarshalText returns the version with a leading v.
func (v KubeletVersion) MarshalText() ([]byte, error) { return []byte(v), nil }

// UnmarshalText parses a version with or without a leading v. The patch level may
// be missing.
func (v *KubeletVersion) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = ""
		return nil
	}
	parsed := KubeletVersion("v" + strings.TrimPrefix(string(text), "v"))
	if _, err := parsed.semantic(); err != nil {
		return errors.New("not a version such as 1.37 or v1.36.3")
	}
	*v = parsed
	return nil
}

// semantic returns the version with patch level 0 if it has none.
func (v KubeletVersion) semantic() (*version.Version, error) {
	full := string(v)
	if strings.Count(full, ".") == 1 {
		full += ".0"
	}
	return version.ParseSemantic(full)
}

// looksUpDevices reports whether the kubelet looks up every device in every pod
// when it starts: since 1.36, pre-releases included. A version that cannot be
// parsed counts as the newest.
func (v KubeletVersion) looksUpDevices() bool {
	parsed, err := v.semantic()
	return err != nil || parsed.AtLeast(version.MustParseSemantic("v1.36.0-0"))
}

// ResourceName is the name of an extended resource of Kubernetes.
type ResourceName string

// MarshalText returns the name.
func (r ResourceName) MarshalText() ([]byte, error) { return []byte(r), nil }

// UnmarshalText checks and stores a name. Names that the kubelet would reject are
// errors.
func (r *ResourceName) UnmarshalText(text []byte) error {
	domain, _, found := strings.Cut(string(text), "/")
	switch {
	case !found:
		return errors.New("not the name of an extended resource, such as example.com/epc: it has no domain")
	case strings.HasSuffix(domain, "kubernetes.io") || strings.HasPrefix(domain, "requests."):
		return fmt.Errorf("the domain %s is reserved for Kubernetes: the kubelet would reject it", domain)
	}
	// A quota prefixes the name, which must be valid with the prefix.
	if problems := content.IsLabelKey("requests." + string(text)); len(problems) > 0 {
		return errors.New("not the name of an extended resource, such as example.com/epc: " + strings.Join(problems, "; "))
	}
	*r = ResourceName(text)
	return nil
}
