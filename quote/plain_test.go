package quote

import (
	"bytes"
	"encoding/pem"
	"testing"

	"github.com/confcom/confcom/sgx/simulation"
)

// What is decoded in the fast way is what pem.Decode decodes.
func FuzzCutPlain(f *testing.F) {
	root := simulation.RootPEM()
	const begin, end = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----"
	f.Add(root)
	f.Add(bytes.Repeat(root, 3))
	f.Add(bytes.TrimRight(root, "\n"))
	f.Add(bytes.ReplaceAll(root, []byte("\n"), []byte("\r\n")))
	for _, text := range []string{
		"AAAA" + end, "AAAA" + end + " \n", "AAAA" + end + "-\n", "AA\r\n\n\nAA" + end + "\nrest", "AAA=" + end, "AAB=" + end, "AAA" + end,
		"AA AA" + end, "a: b\n\nAAAA" + end, "AAAA\n" + begin + "AAAA" + end, "\n" + end, end, "AAAA", "\r" + end, "AAAA\r" + end + "\r\n",
	} {
		f.Add([]byte(begin + text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		der, rest, ok := cutPlain(text)
		if !ok {
			return
		}
		block, want := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || !bytes.Equal(block.Bytes, der) || !bytes.Equal(rest, want) {
			t.Errorf("%q: %x, then %q; pem.Decode: %+v, then %q", text, der, rest, block, want)
		}
	})
}

// Genuine chains are written in the usual way.
func TestCutPlain(t *testing.T) {
	der, rest, ok := cutPlain(append(simulation.RootPEM(), "rest"...))
	if !ok || len(der) == 0 || string(rest) != "rest" {
		t.Errorf("%d bytes, then %q, %t", len(der), rest, ok)
	}
}
