package epc

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

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
