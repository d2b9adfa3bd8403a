package node

import (
	"errors"

	"k8s.io/apimachinery/pkg/api/resource"
)

// MiB is the unit in which EPC is handed out.
const MiB Size = 1 << 20

// Size is an amount of memory in bytes. As the value of a flag it is written
// as Kubernetes writes quantities and is a positive whole number of MiB.
type Size uint64

// MiB is the number of whole MiB in the size.
func (s Size) MiB() uint64 { return uint64(s / MiB) }

// String is the size as a Kubernetes quantity, such as 64Mi.
func (s Size) String() string {
	return resource.NewQuantity(int64(s), resource.BinarySI).String()
}

// Set reads a quantity such as 64Mi or 1Gi.
func (s *Size) Set(text string) error {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return errors.New("not a quantity such as 64Mi or 1Gi")
	}
	if quantity.Sign() <= 0 {
		return errors.New("must be more than nothing, such as 64Mi or 1Gi")
	}
	bytes := quantity.Value() // rounded up
	if quantity.CmpInt64(bytes) != 0 || Size(bytes)%MiB != 0 {
		return errors.New("not a whole number of MiB, such as 64Mi or 1Gi")
	}
	*s = Size(bytes)
	return nil
}

// Type names the flag's value in a help text.
func (s *Size) Type() string { return "quantity" }
