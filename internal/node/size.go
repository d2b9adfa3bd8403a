package node

import (
	"errors"
	"strconv"
	"strings"
)

// MiB is the unit in which EPC is allocated.
const MiB Size = 1 << 20

// Size is an amount of memory in bytes. Its text is a whole number with a binary
// suffix, as in Kubernetes' quantities. (Kubernetes' own type would enlarge the
// daemons by 5%.) A *Size can be the value of a command-line flag.
type Size uint64

// MiB returns the number of whole MiB in the size.
func (s Size) MiB() int64 { return int64(s / MiB) }

// suffixes returns the binary suffixes of quantities, the largest first.
func suffixes() []struct {
	suffix string
	size   Size
} {
	return []struct {
		suffix string
		size   Size
	}{{"Ti", MiB << 20}, {"Gi", MiB << 10}, {"Mi", MiB}, {"Ki", MiB >> 10}, {"", 1}}
}

// String returns the size as Kubernetes formats it, such as 64Mi.
func (s Size) String() string {
	for _, unit := range suffixes() {
		if s >= unit.size && s%unit.size == 0 {
			return strconv.FormatUint(uint64(s/unit.size), 10) + unit.suffix
		}
	}
	return "0"
}

// Set parses a size of whole MiB, such as 64Mi or 1Gi.
func (s *Size) Set(text string) error {
	for _, unit := range suffixes() {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 63)
		size := Size(n) * unit.size
		switch {
		case err != nil || size/unit.size != Size(n) || size>>63 != 0:
			return errors.New("not a size such as 64Mi or 1Gi")
		case size%MiB != 0:
			return errors.New("not a whole number of MiB, such as 64Mi or 1Gi")
		}
		*s = size
		return nil
	}
	return nil // not reached: the last suffix is empty
}

// Type returns the name of a flag's value in help texts.
func (s *Size) Type() string { return "size" }
