package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDump(t *testing.T) {
	const features = "0x00000007 0x00: eax=0x00000000 ebx=0x00000004 ecx=0x40000000 edx=0x00000000\n"
	tests := []struct {
		name, dump string
		want       Processor
		text       string
	}{
		{"nothing", "", Processor{}, "no SGX"},
		{"all processors, not one", "CPU 0:\n   " + features + "CPU 1:\n   " + features, Processor{SGX: true, FLC: true}, "SGX, switched off"},
		{"leaf 0x12 without SGX", "0x00000012 0x00: eax=0x00000003 ebx=0x00000000 ecx=0x00000000 edx=0x00000000\n" +
			"0x00000012 0x02: eax=0x00000001 ebx=0x00000000 ecx=0x00001000 edx=0x00000000\n", Processor{}, "no SGX"},
		{"only subleaf 0 of leaf 7 counts", "0x00000007 0x01: eax=0x00000000 ebx=0x00000004 ecx=0x40000000 edx=0x00000000\n", Processor{}, "no SGX"},
		{"the other bits", "0x00000007 0x00: eax=0xffffffff ebx=0xfffffffb ecx=0xbfffffff edx=0xffffffff\n", Processor{}, "no SGX"},
		{
			"sections up to the first of type 0", features +
				"0x00000012 0x00: eax=0x00000001 ebx=0x00000000 ecx=0x00000000 edx=0x00000000\n" +
				"0x00000012 0x02: eax=0xfffff001 ebx=0xffffffff ecx=0xffffffff edx=0xffffffff\n" +
				"0x00000012 0x03: eax=0x00000002 ebx=0x00000000 ecx=0x00001000 edx=0x00000000\n" +
				"0x00000012 0x04: eax=0x00000001 ebx=0x00000000 ecx=0x03800001 edx=0x00000000\n" +
				"0x00000012 0x05: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x00000000\n" +
				"0x00000012 0x06: eax=0x00000001 ebx=0x00000000 ecx=0x00001000 edx=0x00000000\n",
			Processor{SGX: true, SGX1: true, FLC: true, EPC: []Size{1<<52 - 1<<12, 56 * MiB}}, "SGX1, FLC",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseDump([]byte(test.dump))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
			if got.String() != test.text {
				t.Errorf("%q, want %q", got, test.text)
			}
		})
	}
}

// Any dump is either rejected or parsed to a processor that can exist.
func FuzzParseDump(f *testing.F) {
	f.Add([]byte("CPU:\n" +
		"   0x00000007 0x00: eax=0x00000000 ebx=0x029c67af ecx=0x40000000 edx=0xbc000400\n" +
		"   0x00000012 0x00: eax=0x00000001 ebx=0x00000000 ecx=0x00000000 edx=0x0000241f\n" +
		"   0x00000012 0x02: eax=0x40000001 ebx=0x00000000 ecx=0x03800001 edx=0x00000000\n"))
	f.Add([]byte("CPU 0:\n\n0x7 0x0: eax=0x0 ebx=0x4 ecx=0x0 edx=0x0\n0x12 0x2: eax=0xf2 ebx=0x0 ecx=0x0 edx=0x0"))
	f.Add([]byte("0x00000007 0x00: eax=0x1ffffffff"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, dump []byte) {
		p, err := parseDump(dump)
		if err != nil {
			if p != nil {
				t.Errorf("a processor next to the error %v", err)
			}
			return
		}
		if !p.SGX && (p.SGX1 || p.SGX2 || len(p.EPC) > 0) {
			t.Errorf("without SGX: %+v", p)
		}
		for _, size := range p.EPC {
			if size%(4<<10) != 0 || size >= 1<<52 {
				t.Errorf("EPC section of %d bytes", size)
			}
		}
		_ = p.String()
	})
}
