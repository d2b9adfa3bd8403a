package main

import (
	"strings"
	"testing"
)

// A flag that is missing or wrong is named, before anything is sent.
func TestFlags(t *testing.T) {
	signer := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name, signer, file string
		statuses           []string
		want               string
	}{
		{"no signer", "", "secret", nil, "--mrsigner: missing"},
		{"a short signer", "abcd", "secret", nil, "--mrsigner: sgx: decode hexadecimal: 4 digits"},
		{"no secret", signer, "", nil, "--secret-file: missing"},
		{"an unknown status", signer, "secret", []string{"Fine"}, "--accept-status: "},
		{"no such file", signer, t.TempDir() + "/none", nil, "--secret-file: open "},
	} {
		err := run(t.Context(), "http://127.0.0.1:0", c.signer, c.statuses, c.file, true)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s…", c.name, err, c.want)
		}
	}
}
