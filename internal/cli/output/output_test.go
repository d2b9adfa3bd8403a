package output

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// Every field of an enclave and of a trust domain is shown.
func TestQuoteFields(t *testing.T) {
	fill := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i%250) + 1
		}
		return b
	}
	td := new(tdx.ReportBody)
	if err := td.UnmarshalBinary(fill(tdx.ReportBody15ExSize)); err != nil {
		t.Fatal(err)
	}
	enclave := new(sgx.ReportBody)
	if err := enclave.UnmarshalBinary(fill(sgx.ReportBodySize)); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*quote.Quote{
		{Header: quote.Header{Version: quote.Version5, TEE: quote.TDX}, BodyType: quote.BodyTDX15Ex, TD: td},
		{Header: quote.Header{Version: quote.Version3}, BodyType: quote.BodySGX, Enclave: enclave},
	} {
		var out bytes.Buffer
		if err := Quote(&out, q, 0); err != nil {
			t.Fatal(err)
		}
		var body any = q.Enclave
		if q.TD != nil {
			body = q.TD
		}
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range values(t, text) {
			n, err := strconv.ParseUint(value, 10, 64)
			if !strings.Contains(out.String(), value) && (err != nil || !strings.Contains(out.String(), fmt.Sprintf("%#x", n))) {
				t.Errorf("no %s in\n%s", value, &out)
			}
		}
	}
}

// values returns the strings and numbers in a JSON text.
func values(t *testing.T, text []byte) (all []string) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var collect func(v any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, member := range v {
				collect(member)
			}
		case []any:
			for _, element := range v {
				collect(element)
			}
		case string:
			all = append(all, v)
		case json.Number:
			all = append(all, v.String())
		}
	}
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	collect(v)
	return all
}

// Evidence shows its form, what else was in it, and what its quote lacks.
func TestEvidence(t *testing.T) {
	e := &evidence.Evidence{
		Forms:       []evidence.Form{evidence.FormPEM, evidence.FormCertificate, evidence.FormQuote},
		Padding:     2,
		Attachments: []evidence.Attachment{{Kind: evidence.PublicKey, Data: make([]byte, 91)}},
		Parsed: &quote.Quote{Enclave: new(sgx.ReportBody), Signature: quote.SignatureData{
			CertificationData: quote.CertificationData{Type: quote.PPIDRSA3072, Data: make([]byte, 404)},
		}},
	}
	var out bytes.Buffer
	if err := Evidence(&out, e); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"form              PEM > certificate > quote, then 2 bytes of padding\nattached          public key, 91 bytes\n\nquote ",
		"PPID encrypted with RSA-3072 (type 3): the PCK certificate\n                  must come from elsewhere\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	bound := sha256.Sum256(make([]byte, 91))
	copy(e.Parsed.Enclave.ReportData[:], bound[:])
	out.Reset()
	if err := Evidence(&out, e); err != nil || !strings.Contains(out.String(), "\nattached          public key, 91 bytes; the report data begins with its SHA-256\n") {
		t.Errorf("%v\n%s", err, &out)
	}
	e.Forms, e.Padding, e.Attachments = []evidence.Form{evidence.FormQuote}, 0, nil
	out.Reset()
	if err := Evidence(&out, e); err != nil || !strings.HasPrefix(out.String(), "quote ") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestVerdicts(t *testing.T) {
	passed := attest.Check{Name: "one", Passed: true, Detail: "good"}
	refused := attest.Check{Name: "two", Detail: "bad"}
	outdated := attest.Check{Name: attest.CheckCollateralValid, Detail: "bad"}
	at, later := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 2, 0, 0, 0, 0, time.UTC)
	for want, r := range map[string]*attest.Result{
		"ok  one  good\nTRUSTED until 9999-01-02T00:00:00Z, unless something is revoked earlier\n":               {Trusted: true, Checks: []attest.Check{passed}, Expires: later},
		"ok  one  good\nTRUSTED as of 2026-01-02T00:00:00Z; it has expired since, on 2026-01-03T00:00:00Z\n":     {Trusted: true, Checks: []attest.Check{passed}, Expires: at.AddDate(0, 0, 1)},
		"ok      one  good\nFAILED  two  bad\nNOT TRUSTED (failed: two)\n":                                       {Checks: []attest.Check{passed, refused}, Expires: later},
		"FAILED  collateral valid  bad\nNOT TRUSTED: the collateral cannot be used (failed: collateral valid)\n": {Checks: []attest.Check{outdated}},
		"NOT TRUSTED\n": {},
	} {
		var out strings.Builder
		if err := Result(&out, r, at); err != nil || out.String() != want {
			t.Errorf("%v\n%swant\n%s", err, &out, want)
		}
	}
}

// Collateral that has expired is not said to be valid until a time in the past.
func TestExpiredCollateral(t *testing.T) {
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var out strings.Builder
	err := Collateral(&out, &attest.Result{Trusted: true, Expires: at.AddDate(0, 0, 1)}, at)
	if want := "VALID as of 2026-01-02T00:00:00Z; it has expired since, on 2026-01-03T00:00:00Z\n"; err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestColours(t *testing.T) {
	for name, c := range map[string]struct {
		terminal bool
		system   string
		env      map[string]string
		want     bool
	}{
		"terminal":      {true, "linux", nil, true},
		"no terminal":   {false, "linux", nil, false},
		"NO_COLOR":      {true, "linux", map[string]string{"NO_COLOR": "1"}, false},
		"dumb terminal": {true, "darwin", map[string]string{"TERM": "dumb"}, false},
		"Windows":       {true, "windows", nil, false},
	} {
		if got := showsColours(c.terminal, c.system, func(key string) string { return c.env[key] }); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if IsTerminal(new(strings.Builder)) {
		t.Error("a buffer is a terminal")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if IsTerminal(null) {
		t.Error("the null device is a terminal")
	}
}

func TestPage(t *testing.T) {
	var out strings.Builder
	p := NewPage(&out)
	p.Row("name", "%d of %d", 1, 2)
	p.Text("text", strings.Repeat("twelve bytes ", 6))
	p.Text("empty", "")
	want := `name              1 of 2
text              twelve bytes twelve bytes twelve bytes twelve bytes twelve
                  bytes twelve bytes
empty             
`
	if p.Err() != nil || out.String() != want {
		t.Errorf("%v\n%q, want\n%q", p.Err(), &out, want)
	}
}

// A command's file is replaced as a whole, where the name leads to a regular file.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("old"), []byte("longer than what replaces it"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("old", file("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", file("dangling")); err != nil {
		t.Fatal(err)
	}
	command := new(cobra.Command)
	var out, errs bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&errs)
	for _, name := range []string{file("new"), file("link"), file("dangling"), os.DevNull, "-"} {
		if err := Save(command, name, []byte("data"), "quote"); err != nil {
			t.Error(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"new": 0, "old": 0o640, "target": 0} {
		text, err := os.ReadFile(file(name))
		info, statErr := os.Lstat(file(name))
		if err != nil || statErr != nil || string(text) != "data" || mode != 0 && info.Mode() != mode {
			t.Errorf("%s: %q, %v, %v", name, text, err, info.Mode())
		}
	}
	for _, name := range []string{"link", "dangling"} {
		if info, err := os.Lstat(file(name)); err != nil || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("the link was replaced: %v, %v", info, err)
		}
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("the null device was replaced: %v, %v", info, err)
	}
	if want := "wrote quote (4 bytes) to " + file("new") + "\n"; out.String() != "data" || !strings.HasPrefix(errs.String(), want) {
		t.Errorf("%q, %q", &out, &errs)
	}
	if err := Save(command, file("none/file"), nil, "quote"); exit.Code(err) != exit.CodeFailed || err.Error() != "write quote to "+file("none/file")+": no such file or directory" {
		t.Errorf("%v", err)
	}
	if names, err := filepath.Glob(file("*")); err != nil || len(names) != 5 {
		t.Errorf("left over: %q, %v", names, err)
	}
}
