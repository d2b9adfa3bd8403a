package tdx_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/confcom/confcom/tdx"
)

// counting returns n bytes, each of which is its own offset modulo 251, so that equal
// bytes are never 256 apart.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func TestBinaryRoundTrip(t *testing.T) {
	for _, size := range []int{tdx.ReportBody15ExSize, tdx.ReportBody15Size, tdx.ReportBody10Size} {
		in := counting(size)
		body := tdx.ReportBody{TDX15: &tdx.ReportBody15{Ex: new(tdx.ReportBody15Ex)}} // which must go for a shorter form
		if err := body.UnmarshalBinary(in); err != nil {
			t.Fatal(err)
		}
		out, err := body.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in, out) || body.Size() != size {
			t.Errorf("%d bytes, Size() = %d:\n in %x\nout %x", size, body.Size(), in, out)
		}
	}
}

// The offsets are numbers here, not the constants under test.
func TestOffsets(t *testing.T) {
	in := counting(tdx.ReportBody15ExSize)
	var b tdx.ReportBody
	if err := b.UnmarshalBinary(in); err != nil {
		t.Fatal(err)
	}
	ex := b.TDX15.Ex
	le := func(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
	for _, f := range []struct {
		name   string
		offset int
		got    []byte
	}{
		{"TEE_TCB_SVN", 0, b.TEETCBSVN[:]},
		{"MRSEAM", 16, b.MRSEAM[:]},
		{"MRSIGNERSEAM", 64, b.MRSignerSEAM[:]},
		{"SEAMATTRIBUTES", 112, le(uint64(b.SEAMAttributes))},
		{"TDATTRIBUTES", 120, le(uint64(b.TDAttributes))},
		{"XFAM", 128, le(uint64(b.XFAM))},
		{"MRTD", 136, b.MRTD[:]},
		{"MRCONFIGID", 184, b.MRConfigID[:]},
		{"MROWNER", 232, b.MROwner[:]},
		{"MROWNERCONFIG", 280, b.MROwnerConfig[:]},
		{"RTMR0", 328, b.RTMR[0][:]},
		{"RTMR3", 472, b.RTMR[3][:]},
		{"REPORTDATA", 520, b.ReportData[:]},
		{"TEE_TCB_SVN_2", 584, b.TDX15.TEETCBSVN2[:]},
		{"MRSERVICETD", 600, b.TDX15.MRServiceTD[:]},
		{"VMID", 648, []byte{ex.VMID}},
		{"TDID", 649, ex.TDID[:]},
		{"DEVINFO", 681, ex.DevInfo[:]},
		{"INIT_SERVTD_HASH", 729, ex.InitServiceTDHash[:]},
		{"INIT_SERVTD_ATTRIBUTES", 777, le(uint64(ex.InitServiceTDAttributes))},
		{"INIT_CPUSVN", 785, ex.InitCPUSVN[:]},
		{"INIT_TEE_TCB_SVN", 801, ex.InitTEETCBSVN[:]},
		{"INIT_TEE_FMSPC", 817, ex.InitTEEFMSPC[:]},
		{"CUR_SERVTD_HASH", 829, ex.CurrentServiceTDHash[:]},
		{"CUR_SERVTD_ATTRIBUTES", 877, le(uint64(ex.CurrentServiceTDAttributes))},
	} {
		if want := in[f.offset : f.offset+len(f.got)]; !bytes.Equal(f.got, want) {
			t.Errorf("%s = %x, want the bytes at %d: %x", f.name, f.got, f.offset, want)
		}
	}
}

func TestWrongSize(t *testing.T) {
	for _, n := range []int{0, 583, 585, 647, 649, 884, 886} {
		var b tdx.ReportBody
		err := b.UnmarshalBinary(make([]byte, n))
		if size, ok := errors.AsType[*tdx.SizeError](err); !ok || size.Got != n {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestDebug(t *testing.T) {
	for bit := range 64 {
		if got, want := tdx.Attributes(1<<bit).Debug(), bit < 8; got != want {
			t.Errorf("bit %d: Debug() = %v", bit, got)
		}
	}
}

func TestReserved(t *testing.T) {
	for bit := range 64 {
		named := bit < 8 || bit >= 28 && bit <= 31 || bit == 63
		if got := tdx.Attributes(1<<bit).Reserved() != 0; got == named {
			t.Errorf("bit %d: reserved %v", bit, got)
		}
	}
}

func TestReaches(t *testing.T) {
	v := tdx.TCBSVN{5, 1, 2}
	if v.ModuleMajor() != 1 || v.ModuleMinor() != 5 || !v.Reaches(v) || !v.Reaches(tdx.TCBSVN{}) {
		t.Errorf("%s", v)
	}
	for i := range v {
		higher := v
		if higher[i]++; v.Reaches(higher) || !higher.Reaches(v) {
			t.Errorf("component %d is not compared", i)
		}
	}
}

func TestUnmarshalText(t *testing.T) {
	m, svn, xfam := tdx.Measurement{1}, tdx.TCBSVN{2}, tdx.XFAM(3)
	for _, text := range []string{"", "00", strings.Repeat("g0", 48), strings.Repeat("g0", 16)} {
		if m.UnmarshalText([]byte(text)) == nil || svn.UnmarshalText([]byte(text)) == nil || xfam.UnmarshalText([]byte("x"+text)) == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	if m[0] != 1 || svn[0] != 2 || xfam != 3 {
		t.Error("an error leaves a trace")
	}
	in := tdx.ReportBody{MRTD: tdx.Measurement{0xab}, TEETCBSVN: tdx.TCBSVN{0xcd}, XFAM: 0x800000000000e7}
	texts := []string{in.MRTD.String(), in.TEETCBSVN.String(), in.XFAM.String()}
	if m.UnmarshalText([]byte(texts[0])) != nil || svn.UnmarshalText([]byte(texts[1])) != nil || xfam.UnmarshalText([]byte(texts[2])) != nil ||
		m != in.MRTD || svn != in.TEETCBSVN || xfam != in.XFAM {
		t.Errorf("%q are read as %s, %s, %s", texts, m, svn, xfam)
	}
}

func TestJSON(t *testing.T) {
	text, err := json.Marshal(&tdx.ReportBody{TDAttributes: 1, XFAM: 0xe7, MRTD: tdx.Measurement{0xab}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"tdAttributes":"0x0000000000000001"`, `"xfam":"0x00000000000000e7"`, `"mrTD":"ab00`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
