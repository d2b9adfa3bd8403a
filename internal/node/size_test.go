package node

import "testing"

func TestSizeSet(t *testing.T) {
	const (
		noQuantity = "not a quantity such as 64Mi or 1Gi"
		nothing    = "must be more than nothing, such as 64Mi or 1Gi"
		notWhole   = "not a whole number of MiB, such as 64Mi or 1Gi"
	)
	tests := []struct {
		text string
		want Size
		err  string
	}{
		{"64Mi", 64 * MiB, ""},
		{"1Gi", 1024 * MiB, ""},
		{"1.5Gi", 1536 * MiB, ""},
		{"256Gi", 262144 * MiB, ""},
		{"1048576", MiB, ""},
		{"2048Ki", 2 * MiB, ""},
		{"64MB5", 0, noQuantity},
		{"64MB", 0, noQuantity},
		{"64 Mi", 0, noQuantity},
		{"", 0, noQuantity},
		{"0", 0, nothing},
		{"-64Mi", 0, nothing},
		{"64M", 0, notWhole},
		{"64", 0, notWhole},
		{"0.5Mi", 0, notWhole},
		{"100m", 0, notWhole},
		{"1000000Ei", 0, notWhole},
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

func TestSizeUnits(t *testing.T) {
	if got := (64*MiB + 1).MiB(); got != 64 {
		t.Errorf("whole MiB: %d", got)
	}
	if got := (8192 * MiB).String(); got != "8Gi" {
		t.Errorf("quantity: %s", got)
	}
}
