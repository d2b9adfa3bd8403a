package deviceplugin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/epc"
)

// ResourceSet is the set of resources that are advertised.
type ResourceSet struct{ EPC, Enclave, Provision, QuoteHelper bool }

// MarshalText returns the names of the resources, separated by commas.
func (r ResourceSet) MarshalText() ([]byte, error) {
	var names []string
	for _, resource := range r.all() {
		if *resource.on {
			names = append(names, resource.name)
		}
	}
	return []byte(strings.Join(names, ",")), nil
}

// UnmarshalText parses names of resources, separated by commas.
func (r *ResourceSet) UnmarshalText(text []byte) error {
	var set ResourceSet
names:
	for name := range strings.SplitSeq(string(text), ",") {
		for _, resource := range set.all() {
			if name == resource.name {
				*resource.on = true
				continue names
			}
		}
		return fmt.Errorf("%q is not one of epc, enclave, provision, quote-helper", name)
	}
	*r = set
	return nil
}

func (r *ResourceSet) all() []struct {
	name string
	on   *bool
} {
	return []struct {
		name string
		on   *bool
	}{{"epc", &r.EPC}, {"enclave", &r.Enclave}, {"provision", &r.Provision}, {"quote-helper", &r.QuoteHelper}}
}

// QuoteHelper is the resource that gives the quote helper both devices, and nothing else.
// The helper requests no EPC, so that a second helper, which an update starts, evicts
// nobody: the EPC of its enclaves is kept back for it (epc.Policy.Reserve).
const QuoteHelper epc.ResourceName = "confcom.github.io/quote-helper"

// quoteHelpers is how many containers may have that resource: two while an update
// replaces one, and some that have failed or end slowly.
const quoteHelpers = 8

// SharedDeviceCount is how many containers may share a device.
type SharedDeviceCount int

// maxSharedDevices is more than the containers of a node, and quick for any kubelet.
const maxSharedDevices = 4096

// MarshalText returns the number in decimal.
func (n SharedDeviceCount) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, int64(n), 10), nil
}

// UnmarshalText parses a decimal number from 1 to 4096.
func (n *SharedDeviceCount) UnmarshalText(text []byte) error {
	count, err := strconv.Atoi(string(text))
	if err != nil || count < 1 || count > maxSharedDevices {
		return errors.New("not a number from 1 to " + strconv.Itoa(maxSharedDevices))
	}
	*n = SharedDeviceCount(count)
	return nil
}
