package sgx_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/confcom/confcom/sgx"
)

// counting returns n bytes, each of which is its own offset modulo 251, so that
// equal bytes are never 256 apart.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// structures returns a value of every type with a binary form.
func structures() []struct {
	name  string
	size  int
	value interface {
		encoding.BinaryMarshaler
		encoding.BinaryUnmarshaler
	}
} {
	return []struct {
		name  string
		size  int
		value interface {
			encoding.BinaryMarshaler
			encoding.BinaryUnmarshaler
		}
	}{
		{"report body", sgx.ReportBodySize, new(sgx.ReportBody)},
		{"report", sgx.ReportSize, new(sgx.Report)},
		{"target info", sgx.TargetInfoSize, new(sgx.TargetInfo)},
		{"attributes", sgx.AttributesSize, new(sgx.Attributes)},
	}
}

func TestBinaryRoundTrip(t *testing.T) {
	for _, s := range structures() {
		t.Run(s.name, func(t *testing.T) {
			in := counting(s.size)
			if err := s.value.UnmarshalBinary(in); err != nil {
				t.Fatal(err)
			}
			out, err := s.value.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(in, out) {
				t.Errorf("bytes changed:\n in %x\nout %x", in, out)
			}
		})
	}
}

func TestWrongSize(t *testing.T) {
	for _, s := range structures() {
		for _, n := range []int{0, s.size - 1, s.size + 1} {
			err := s.value.UnmarshalBinary(make([]byte, n))
			var size *sgx.SizeError
			if !errors.As(err, &size) || size.Structure != s.name || size.Got != n || size.Want != s.size {
				t.Errorf("%s of %d bytes: %v", s.name, n, err)
			}
		}
	}
}

// The offsets were measured from the SDK's C structures. They are numbers here, not
// the constants under test.
func TestReportOffsets(t *testing.T) {
	in := counting(sgx.ReportSize)
	var r sgx.Report
	if err := r.UnmarshalBinary(in); err != nil {
		t.Fatal(err)
	}
	b := r.Body
	for _, f := range []struct {
		name   string
		offset int
		got    []byte
	}{
		{"CPUSVN", 0, b.CPUSVN[:]},
		{"MISCSELECT", 16, le(uint64(b.MiscSelect), 4)},
		{"CET_ATTRIBUTES", 20, []byte{b.CETAttributes}},
		{"ISVEXTPRODID", 32, b.ISVExtProdID[:]},
		{"ATTRIBUTES.FLAGS", 48, le(uint64(b.Attributes.Flags), 8)},
		{"ATTRIBUTES.XFRM", 56, le(uint64(b.Attributes.XFRM), 8)},
		{"MRENCLAVE", 64, b.MREnclave[:]},
		{"MRSIGNER", 128, b.MRSigner[:]},
		{"CONFIGID", 192, b.ConfigID[:]},
		{"ISVPRODID", 256, le(uint64(b.ISVProdID), 2)},
		{"ISVSVN", 258, le(uint64(b.ISVSVN), 2)},
		{"CONFIGSVN", 260, le(uint64(b.ConfigSVN), 2)},
		{"ISVFAMILYID", 304, b.ISVFamilyID[:]},
		{"REPORTDATA", 320, b.ReportData[:]},
		{"KEYID", 384, r.KeyID[:]},
		{"MAC", 416, r.MAC[:]},
	} {
		if want := in[f.offset : f.offset+len(f.got)]; !bytes.Equal(f.got, want) {
			t.Errorf("%s = %x, want the bytes at %d: %x", f.name, f.got, f.offset, want)
		}
	}
}

func TestTargetInfoOffsets(t *testing.T) {
	in := counting(sgx.TargetInfoSize)
	var ti sgx.TargetInfo
	if err := ti.UnmarshalBinary(in); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name   string
		offset int
		got    []byte
	}{
		{"MRENCLAVE", 0, ti.MREnclave[:]},
		{"ATTRIBUTES.FLAGS", 32, le(uint64(ti.Attributes.Flags), 8)},
		{"ATTRIBUTES.XFRM", 40, le(uint64(ti.Attributes.XFRM), 8)},
		{"CET_ATTRIBUTES", 48, []byte{ti.CETAttributes}},
		{"CONFIGSVN", 50, le(uint64(ti.ConfigSVN), 2)},
		{"MISCSELECT", 52, le(uint64(ti.MiscSelect), 4)},
		{"CONFIGID", 64, ti.ConfigID[:]},
	} {
		if want := in[f.offset : f.offset+len(f.got)]; !bytes.Equal(f.got, want) {
			t.Errorf("%s = %x, want the bytes at %d: %x", f.name, f.got, f.offset, want)
		}
	}
}

func le(v uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	return b
}

func TestReserved(t *testing.T) {
	in := func(ranges ...[2]int) map[int]bool {
		set := map[int]bool{}
		for _, r := range ranges {
			for i := r[0]; i < r[1]; i++ {
				set[i] = true
			}
		}
		return set
	}
	check := func(name string, size int, reserved map[int]bool, parse func([]byte) (int, bool)) {
		for i := range size {
			b := make([]byte, size)
			b[i] = 0x80
			offset, set := parse(b)
			if set != reserved[i] || set && offset != i {
				t.Errorf("%s, byte %d set: Reserved() = %d, %v", name, i, offset, set)
			}
		}
	}
	check("body", sgx.ReportBodySize, in([2]int{21, 32}, [2]int{96, 128}, [2]int{160, 192}, [2]int{262, 304}), func(b []byte) (int, bool) {
		var v sgx.ReportBody
		if err := v.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		return v.Reserved()
	})
	check("target info", sgx.TargetInfoSize, in([2]int{49, 50}, [2]int{56, 64}, [2]int{128, 512}), func(b []byte) (int, bool) {
		var v sgx.TargetInfo
		if err := v.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		return v.Reserved()
	})
}

func TestFlagsText(t *testing.T) {
	for _, c := range []struct {
		flags sgx.Flags
		text  string
	}{
		{0, "0x0"},
		{sgx.FlagInit, "INIT"},
		{sgx.FlagInit | sgx.FlagDebug | sgx.FlagMode64Bit, "INIT|DEBUG|MODE64BIT"},
		{sgx.FlagProvisionKey | sgx.FlagEInitTokenKey | sgx.FlagKSS | sgx.FlagAEXNotify, "PROVISION_KEY|EINITTOKEN_KEY|KSS|AEX_NOTIFY"},
		{sgx.FlagInit | 1<<63 | 8, "INIT|0x8000000000000008"},
	} {
		if got := c.flags.String(); got != c.text {
			t.Errorf("Flags(%#x) = %q, want %q", uint64(c.flags), got, c.text)
		}
		var back sgx.Flags
		if err := back.UnmarshalText([]byte(c.text)); err != nil || back != c.flags {
			t.Errorf("UnmarshalText(%q) = %#x, %v", c.text, uint64(back), err)
		}
	}
	var f sgx.Flags
	if err := f.UnmarshalText([]byte("INIT|NONSENSE")); err == nil || !strings.Contains(err.Error(), "NONSENSE") {
		t.Errorf("unknown name: error %v", err)
	}
}

func TestJSON(t *testing.T) {
	var in sgx.Report
	if err := in.UnmarshalBinary(counting(sgx.ReportSize)); err != nil {
		t.Fatal(err)
	}
	// Reserved bytes have no JSON form, so start from a report without any.
	clear := sgx.Report{Body: sgx.ReportBody{
		CPUSVN: in.Body.CPUSVN, MREnclave: in.Body.MREnclave, ReportData: in.Body.ReportData,
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagDebug, XFRM: 0xe7},
		ISVProdID:  5, ISVSVN: 9,
	}, KeyID: in.KeyID, MAC: in.MAC}
	text, err := json.Marshal(clear)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"flags":"INIT|DEBUG"`, `"xfrm":"0xe7"`, `"isvSVN":9`,
		`"mrEnclave":"` + in.Body.MREnclave.String() + `"`, `"mac":"` + in.MAC.String() + `"`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	var back sgx.Report
	if err := json.Unmarshal(text, &back); err != nil || back != clear {
		t.Errorf("JSON round trip: %+v, %v", back, err)
	}
}

func TestHexOfWrongLength(t *testing.T) {
	m := sgx.Measurement{1}
	for _, text := range []string{"", "00", strings.Repeat("0", 66), strings.Repeat("x", 64)} {
		if err := m.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) succeeded", text)
		}
	}
	if m != (sgx.Measurement{1}) {
		t.Errorf("a failed UnmarshalText changed the value to %s", m)
	}
}
