package epc

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// ResourceName is the name of an extended resource of Kubernetes.
type ResourceName string

// MarshalText returns the name.
func (r ResourceName) MarshalText() ([]byte, error) { return []byte(r), nil }

// UnmarshalText checks and stores a name. Names that the kubelet would reject are
// errors, and so is Intel's name for EPC.
func (r *ResourceName) UnmarshalText(text []byte) error {
	domain, _, found := strings.Cut(string(text), "/")
	switch {
	case string(text) == IntelResource:
		return errors.New(IntelResource + " counts bytes, which no resource here does: use another name")
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

// IntelResource is the EPC resource of Intel's plugin, which counts bytes.
const IntelResource = "sgx.intel.com/epc"

// DefaultResource is the EPC resource of the AKS add-on, under which existing
// workloads request EPC.
const DefaultResource ResourceName = "kubernetes.azure.com/sgx_epc_mem_in_MiB"
