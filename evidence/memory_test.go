//go:build !race

// The race detector allocates as well.

package evidence_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"

	"github.com/confcom/confcom/evidence"
)

// Reading takes memory in proportion to the data, whatever it is: services read what strangers
// send.
func TestMemory(t *testing.T) {
	const size, limit = 256 << 10, 16 // bytes; times the size
	s := sgxQuote(t)
	fill := func(text string) []byte { return []byte(strings.Repeat(text, size/len(text))) }
	nested := bytes.Repeat([]byte("A"), 20000)
	for len(nested) < size*3/4 {
		nested = []byte(base64.StdEncoding.EncodeToString(nested))
	}
	parts := map[string]any{"__cmwc_t": "1.2.3"}
	for i := range 60 {
		parts[strings.Repeat("x", i+1)] = []any{"a/b", b64url(s)}
	}
	members := make(map[string]int)
	for i := range size / 16 {
		members[hex.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(i)))] = 1
	}
	plain, _ := certificate(t)
	for name, data := range map[string][]byte{
		"zeros":                make([]byte, size),
		"a padded quote":       append(bytes.Clone(s), make([]byte, size-len(s))...),
		"base64":               []byte(base64.StdEncoding.EncodeToString(append(bytes.Clone(s), make([]byte, size-len(s))...))),
		"base64 in base64":     nested,
		"certificates":         fill(string(pemBlock("CERTIFICATE", plain))),
		"starts of PEM":        fill("-----BEGIN SGX QUOTE-----\n"),
		"empty PEM":            fill("-----BEGIN SGX QUOTE-----\n-----END SGX QUOTE-----\n"),
		"timestamps":           fill("2026-11-25T10:00:00.123456789Z a\n"),
		"lines":                fill("\n"),
		"brackets":             append(fill("["), fill("]")...),
		"numbers":              []byte(`{"td_quote":[` + string(fill("1,")) + `1]}`),
		"numbers in a record":  []byte(`[` + string(fill("1,")) + `1]`),
		"objects for a quote":  []byte(`{"quote":[` + string(fill(`{"a":1},`)) + `1]}`),
		"members":              encodeJSON(t, members),
		"a collection":         encodeJSON(t, parts),
		"CBOR arrays":          append([]byte{0x9a, 0, 3, 0xff, 0xff}, fill("\x80")...),
		"escaped JSON strings": append(append([]byte{'"'}, fill(`\u0041`)...), '"'),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = evidence.Parse(data) // most are errors
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > limit*uint64(len(data)) {
			t.Errorf("%s: %d bytes for %d, want at most %d times as much", name, took, len(data), limit)
		}
	}
}
