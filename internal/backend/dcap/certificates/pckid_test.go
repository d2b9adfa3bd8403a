package certificates

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePCKID(t *testing.T) {
	ppid := strings.Repeat("a1", 384)
	fields := []string{ppid, "0000", "07070202030100050000000000000000", "0d01", "4820f3376ae6b2f2034d3b7a4b48a778"}
	good := strings.Join(fields, ",")
	want := Query{
		ID: ID{
			QEID:   [16]byte{0x48, 0x20, 0xf3, 0x37, 0x6a, 0xe6, 0xb2, 0xf2, 0x03, 0x4d, 0x3b, 0x7a, 0x4b, 0x48, 0xa7, 0x78},
			CPUSVN: [16]byte{7, 7, 2, 2, 3, 1, 0, 5}, PCESVN: 0x10d,
		},
		EncryptedPPID: bytes.Repeat([]byte{0xa1}, 384),
	}
	for _, text := range []string{good, good + "\n", good + ",178e4b4fb9e44629", strings.ToUpper(good)} {
		got, err := ParsePCKID([]byte(text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "encrypted PPID: 0 characters, want 768 hexadecimal digits"},
		{ppid, "no PCE ID: 1 fields"},
		{strings.Join(fields[:4], ","), "no QE ID: 4 fields"},
		// Without SGX, the tool can write a platform ID only.
		{",0000,,,4820f3376ae6b2f2034d3b7a4b48a778", "encrypted PPID: 0 characters"},
		{strings.Replace(good, "0d01", "0d", 1), "PCE SVN: 2 characters, want 4"},
		{strings.Replace(good, "0d01", "0dxx", 1), "PCE SVN: encoding/hex: invalid byte"},
	} {
		if _, err := ParsePCKID([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.text, err, c.want)
		}
	}
}

// FuzzParsePCKID checks that any text is parsed or refused.
func FuzzParsePCKID(f *testing.F) {
	f.Add([]byte(strings.Repeat("a1", 384) + ",0000,07070202030100050000000000000000,0d01,4820f3376ae6b2f2034d3b7a4b48a778"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if q, err := ParsePCKID(text); err == nil && len(q.EncryptedPPID) != 384 {
			t.Errorf("%+v", q)
		}
	})
}
