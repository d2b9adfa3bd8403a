package node

import "testing"

func TestSizeSet(t *testing.T) {
	const (
		noSize   = "not a size such as 64Mi or 1Gi"
		notWhole = "not a whole number of MiB, such as 64Mi or 1Gi"
	)
	tests := []struct {
		text string
		want Size
		err  string
	}{
		{"64Mi", 64 * MiB, ""},
		{"1Gi", 1024 * MiB, ""},
		{"256Gi", 262144 * MiB, ""},
		{"2Ti", 2 << 20 * MiB, ""},
		{"1048576", MiB, ""},
		{"2048Ki", 2 * MiB, ""},
		{"0", 0, ""},
		{"0Mi", 0, ""},
		{"64MB5", 0, noSize},
		{"64MB", 0, noSize},
		{"64M", 0, noSize},
		{"64 Mi", 0, noSize},
		{"1.5Gi", 0, noSize},
		{"0x40Mi", 0, noSize},
		{"Mi", 0, noSize},
		{"", 0, noSize},
		{"-64Mi", 0, noSize},
		{"1000000000Ti", 0, noSize},
		{"16777216Ti", 0, noSize},
		{"8388608Ti", 0, noSize},
		{"64", 0, notWhole},
		{"1000Ki", 0, notWhole},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var size Size
			err := size.Set(test.text)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if size != test.want || message != test.err {
				t.Errorf("%d, %q; want %d, %q", size, message, test.want, test.err)
			}
		})
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0", 1: "1", MiB: "1Mi", 64 * MiB: "64Mi", 8192 * MiB: "8Gi", 1536 * MiB: "1536Mi", 2 << 20 * MiB: "2Ti", 93*MiB + 512<<10: "95744Ki",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d: %s, want %s", uint64(size), got, want)
		}
	}
}

func TestSizeMiB(t *testing.T) {
	if got := (64*MiB + 1).MiB(); got != 64 {
		t.Errorf("%d MiB, want 64", got)
	}
}
