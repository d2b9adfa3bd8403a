package certificates

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/confcom/confcom/quote"
)

// blocks returns the certificates of a chain, in PEM.
func blocks(t *testing.T, d Data) [][]byte {
	t.Helper()
	parts := bytes.SplitAfter(bytes.TrimRight(d.Chain, "\x00"), []byte("-----END CERTIFICATE-----\n"))
	return slices.DeleteFunc(parts, func(p []byte) bool { return len(p) == 0 })
}

// Exactly three certificates that chain pass, however they end, and nothing else.
func TestCheck(t *testing.T) {
	good := chain(t, "first")
	c, other := blocks(t, good), blocks(t, chain(t, "second"))
	text := func(parts ...[]byte) Data {
		d := good
		d.Chain = slices.Concat(parts...)
		return d
	}
	crlf := func(p []byte) []byte { return bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")) }
	otherTCB := func(change func(*Data)) Data {
		d := good
		change(&d)
		return d
	}
	for name, test := range map[string]struct {
		data Data
		want string // of the error; none if empty
	}{
		"good":                  {good, ""},
		"no NUL at the end":     {text(c...), ""},
		"no end of line":        {text(c[0], c[1], bytes.TrimRight(c[2], "\n")), ""},
		"CRLF":                  {text(crlf(c[0]), crlf(c[1]), crlf(c[2])), ""},
		"empty lines between":   {text(c[0], []byte("\n\n"), c[1], []byte("\n"), c[2]), ""},
		"nothing":               {text(), "the certificates take 0 bytes"},
		"short":                 {text([]byte("xy\x00")), "the certificates take 3 bytes"},
		"long":                  {text(bytes.Repeat([]byte("A"), maxChain), good.Chain), "want 500 to 12294"},
		"text before":           {text([]byte(`{"error":"busy"}`), good.Chain), `"{\"error\":\"busy\"}-----BEGIN`},
		"a space before":        {text([]byte(" "), good.Chain), "where a certificate should begin, after 0 certificates"},
		"a NUL before":          {text([]byte("\x00"), good.Chain), "after 0 certificates"},
		"text between":          {text(c[0], []byte("x\n"), c[1], c[2]), "after 1 certificates"},
		"text behind":           {text(good.Chain, []byte("x")), "after 3 certificates"},
		"two":                   {text(c[0], c[1]), "2 certificates, want 3"},
		"four":                  {text(c[0], c[1], c[2], c[2]), "4 certificates, want 3"},
		"another order":         {text(c[0], c[2], c[1]), "is not signed by the next one"},
		"the PCK twice":         {text(c[0], c[0], c[2]), "is not signed by the next one"},
		"no PCK":                {text(c[1], c[2], c[2]), "no SGX extension"},
		"another's issuer":      {text(other[0], c[1], c[2]), ""}, // whose platform it is shows in a quote
		"damaged":               {text(c[0][:100], c[1], c[2], c[2]), "certificate 1 is not valid PEM"},
		"not base64":            {text(bytes.Replace(c[0], []byte("M"), []byte("!"), 1), c[1], c[2]), "certificate 1 is not valid PEM"},
		"not a certificate":     {text([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), c[1], c[2]), "certificate 1: x509"},
		"another kind of block": {text(bytes.ReplaceAll(c[0], []byte("CERTIFICATE"), []byte("PRIVATE KEY")), c[1], c[2]), "after 0 certificates"},
		"another CPUSVN":        {otherTCB(func(d *Data) { d.CPUSVN[3]++ }), "the PCK certificate is for"},
		"another PCE SVN":       {otherTCB(func(d *Data) { d.PCESVN-- }), "the PCK certificate is for"},
	} {
		err := test.data.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// FuzzCheck checks that what passes is three certificates with nothing else.
func FuzzCheck(f *testing.F) {
	good, err := simulatedData("first")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Chain)
	f.Add(append([]byte("busy"), good.Chain...))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := good
		d.Chain = text
		if d.Check() != nil {
			return
		}
		if !bytes.HasPrefix(text, []byte(pemBegin)) || bytes.Count(text, []byte("-----BEGIN ")) != chainLength {
			t.Errorf("%q passes", text)
		}
	})
}

// The chains of genuine quotes pass, for the TCB that their PCK certificates name.
func TestCheckGenuine(t *testing.T) {
	paths, _ := filepath.Glob("../../../../../shared/vectors/*/*quote*")
	checked := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a directory
		}
		q, _, err := quote.ParsePrefix(text)
		if err != nil {
			continue // invalid on purpose
		}
		certificates, err := q.Signature.CertificationData.Certificates()
		if err != nil {
			continue // no chain
		}
		d := Data{Chain: q.Signature.CertificationData.Data}
		if d.CPUSVN, d.PCESVN, err = TCB(certificates[0]); err == nil {
			err = d.Check()
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
		checked++
	}
	if checked == 0 {
		t.Skip("NOT RUN: no genuine quotes in ../shared/vectors, beside the checkout")
	}
}

// A platform has one key for each TCB.
func TestCheckKept(t *testing.T) {
	kept, other := chain(t, "first"), chain(t, "second")
	if err := kept.CheckKept(kept); err != nil {
		t.Error(err)
	}
	if err := other.CheckKept(kept); err == nil || !strings.Contains(err.Error(), "another key than the one that is kept") {
		t.Errorf("another platform: %v", err)
	}
	kept.PCESVN++ // after a recovery of the TCB
	if err := other.CheckKept(kept); err != nil {
		t.Errorf("another TCB: %v", err)
	}
}
