package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// confcom runs a command line.
func confcom(t *testing.T, stdin []byte, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	command := newCommand()
	command.SetIn(bytes.NewReader(stdin))
	command.SetOut(&out)
	command.SetErr(&errs)
	exit = run(t.Context(), command, args)
	return exit, out.String(), errs.String()
}

// serve runs a quote helper with a simulated platform for the test.
func serve(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "aesm.socket")
	ctx, stop := context.WithCancel(context.Background())
	stopped, err := startHelper(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return socket
}

func TestGetInspectVerify(t *testing.T) {
	socket, dir := serve(t), t.TempDir()
	binary, text, root := filepath.Join(dir, "quote.bin"), filepath.Join(dir, "quote.pem"), filepath.Join(dir, "root.pem")
	for _, args := range [][]string{
		{"quote", "get", "--socket", socket, "--out", binary, "--report-data", "c0ffee"},
		{"quote", "get", "--socket", socket, "--out", text, "--pem"},
		{"simulated", "root", "--out", root},
		{"demo"},
	} {
		if exit, _, errs := confcom(t, nil, args...); exit != 0 {
			t.Fatalf("%q: exit %d: %s", args, exit, errs)
		}
	}
	pem, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	log := append([]byte("lines of a log\n"), pem...)
	collateral := filepath.Join(dir, "collateral")
	if exit, _, errs := confcom(t, nil, "simulated", "collateral", "--out-dir", collateral); exit != 0 {
		t.Fatal(errs)
	}
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, []byte(`{"mrSigners": ["`+strings.Repeat("00", 32)+`"], "reportData": "c0ffee"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	signer := fmt.Sprintf("%x", sha256.Sum256([]byte("SIMULATED: signer of the confcom command")))

	for _, c := range []struct {
		name  string
		stdin []byte
		args  []string
		exit  int
		want  string
	}{
		{"inspect", nil, []string{"quote", "inspect", binary}, 0, "report data     c0ffee00"},
		{"inspect a log", log, []string{"quote", "inspect", "-"}, 0, "SIMULATED (NOT INTEL) SGX Root CA"},
		{"inspect as JSON", nil, []string{"quote", "inspect", binary, "-o", "json"}, 0, `"flags": "INIT|MODE64BIT"`},
		{"verify", nil, []string{"quote", "verify", binary, "--root", root, "--collateral", collateral}, 0, "TRUSTED until"},
		{"verify a log", log, []string{"quote", "verify", "-", "--root", root, "--collateral", filepath.Join(collateral, "collateral.json")}, 0, "TRUSTED until"},
		{"verify without the root", nil, []string{"quote", "verify", binary, "--collateral", collateral}, 1, "NOT TRUSTED"},
		{"verify without collateral", nil, []string{"quote", "verify", binary, "--root", root}, 2, "INCOMPLETE"},
		{"verify the nonce", nil, []string{"quote", "verify", binary, "--root", root, "--collateral", collateral, "--report-data", "c0ffee"}, 0, "report data "},
		{"verify another nonce", nil, []string{"quote", "verify", binary, "--root", root, "--collateral", collateral, "--report-data", "c0ffef"}, 1, "FAILED  report data"},
		{"verify by a file", nil, []string{"quote", "verify", binary, "--root", root, "--collateral", collateral, "--policy", policy}, 1, "FAILED  MRSIGNER"},
		{"verify by a file and a flag", nil, []string{"quote", "verify", binary, "--root", root, "--collateral", collateral, "--policy", policy, "--mrsigner", signer}, 0, "TRUSTED until"},
		{"verify at another time", nil, []string{"quote", "verify", binary, "--root", root, "--at", "2001-01-01T00:00:00Z"}, 1, "not at 2001-01-01T00:00:00Z"},
	} {
		exit, out, errs := confcom(t, c.stdin, c.args...)
		if exit != c.exit || !strings.Contains(out, c.want) || errs != "" {
			t.Errorf("%s: exit %d\n%s%s", c.name, exit, out, errs)
		}
	}

	_, out, _ := confcom(t, nil, "quote", "verify", binary, "--root", root, "--collateral", collateral, "-o", "json")
	var result attest.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil || !result.Trusted || len(result.NotChecked) == 0 || result.Status != attest.UpToDate {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}

func TestReport(t *testing.T) {
	exit, out, errs := confcom(t, nil, "quote", "report", "--socket", serve(t), "--out", "-")
	var report sgx.Report
	if err := report.UnmarshalBinary([]byte(out)); exit != 0 || err != nil {
		t.Errorf("exit %d, %v: %s", exit, err, errs)
	}
}

func TestCollateral(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if exit, _, errs := confcom(t, nil, "simulated", "collateral", "--out-dir", dir); exit != 0 {
		t.Fatalf("exit %d: %s", exit, errs)
	}
	for _, name := range []string{"collateral.json", "root.pem", "tcb_info.json", "qe_identity.json", "tcb_sign_chain.pem", "pck_crl_issuer.pem", "pck_crl.der", "root_ca_crl.der"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, whole, _ := confcom(t, nil, "quote", "get", "--socket", serve(t), "--out", "-")
	good := file("good", []byte(whole))
	truncated := file("truncated", []byte(whole)[:1000])
	padded := file("padded", append([]byte(whole), 0, 0))
	empty := file("empty", nil)
	text := file("text", []byte("a log\nwithout a quote\n"))
	_, block, _ := confcom(t, nil, "quote", "get", "--socket", serve(t), "--out", "-", "--pem")
	twice := file("twice", []byte(block+block))

	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"quote", "verify"}, 2, "takes one FILE"},
		{[]string{"quote", "verify", filepath.Join(dir, "absent")}, 2, "no such file"},
		{[]string{"quote", "verify", dir}, 2, "is a directory"},
		{[]string{"quote", "verify", empty}, 2, "is empty"},
		{[]string{"quote", "verify", truncated}, 2, "data ends here"},
		{[]string{"quote", "inspect", truncated}, 2, "offset"},
		{[]string{"quote", "verify", padded}, 2, "left over: 2"},
		{[]string{"quote", "verify", good, "--root", empty}, 2, "is empty"},
		{[]string{"quote", "verify", good, "--root", text}, 2, "no PEM certificate"},
		{[]string{"quote", "verify", good, "--root", ""}, 2, "--root"},
		{[]string{"quote", "verify", good, "--collateral", text}, 2, "collateral: invalid character"},
		{[]string{"quote", "verify", good, "--collateral", dir}, 2, "collateral.json: no such file"},
		{[]string{"quote", "verify", good, "--policy", text}, 2, "policy: invalid character"},
		{[]string{"quote", "verify", good, "--accept-status", "Fine"}, 2, "there are"},
		{[]string{"quote", "verify", good, "--mrsigner", "00"}, 2, "64 hexadecimal digits"},
		{[]string{"quote", "verify", good, "--min-svn", "1"}, 2, "MRSigners"},
		{[]string{"quote", "verify", good, "--at", ""}, 2, "--at"},
		{[]string{"quote", "verify", text}, 2, "text without a PEM block"},
		{[]string{"quote", "verify", twice}, 2, "2 quotes in one text"},
		{[]string{"quote", "verify", good, "--root", filepath.Join(dir, "absent")}, 2, "--root"},
		{[]string{"quote", "verify", good, "--at", "noon"}, 2, "2026-01-31T12:00:00Z"},
		{[]string{"quote", "verify", good, "-o", "xml"}, 2, "neither text nor json"},
		{[]string{"quote", "get", "--socket", filepath.Join(dir, "absent"), "--out", "-"}, 1, "is the quote helper running on this node"},
		{[]string{"quote", "get"}, 2, `"out" not set`},
		{[]string{"quote", "get", "--out", "-", "--report", filepath.Join(dir, "absent")}, 2, "no such file"},
		{[]string{"quote", "get", "--out", "-", "--report", os.Args[0]}, 2, "432"},
		{[]string{"quote", "get", "--out", "-", "--report-data", "xyz"}, 2, "not hexadecimal"},
		{[]string{"quote", "get", "--out", "-", "--report-data", strings.Repeat("00", 65)}, 2, "65 bytes"},
		{[]string{"simulated", "root", "--out", filepath.Join(dir, "absent", "root.pem")}, 1, "--out"},
		{[]string{"nonsense"}, 2, "unknown command"},
		{[]string{"quote"}, 2, "needs one of its commands"},
		{[]string{"quote", "verfy", good}, 2, `unknown command "verfy"`},
		{[]string{"simulated", "nonsense"}, 2, `unknown command "nonsense"`},
	} {
		exit, out, errs := confcom(t, nil, c.args...)
		if exit != c.exit || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, want %d and %q\n%s%s", c.args, exit, c.exit, c.want, out, errs)
		}
	}
}

// A file that is a quote is judged by its own bytes, whatever is inside it.
func TestQuoteInsideAQuote(t *testing.T) {
	socket := serve(t)
	_, good, _ := confcom(t, nil, "quote", "get", "--socket", socket, "--out", "-", "--pem")
	_, other, _ := confcom(t, nil, "quote", "get", "--socket", socket, "--out", "-")
	q, err := quote.Parse([]byte(other))
	if err != nil {
		t.Fatal(err)
	}
	q.Enclave.MREnclave[0] ^= 1
	q.Signature.CertificationData.Data = append(q.Signature.CertificationData.Data, "\n"+good...)
	forged, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root.pem")
	confcom(t, nil, "simulated", "root", "--out", root)
	if exit, out, errs := confcom(t, forged, "quote", "verify", "-", "--root", root); exit == 0 {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}

// What a TD quote shows is not that of an enclave.
func TestShowTD(t *testing.T) {
	q := &quote.Quote{
		Header:   quote.Header{Version: quote.Version5, TEE: quote.TDX},
		BodyType: quote.BodyTDX15,
		TD:       &tdx.ReportBody{MRTD: tdx.Measurement{0xab}},
	}
	var out bytes.Buffer
	if err := showQuote(&out, q, 0); err != nil || !strings.Contains(out.String(), "MRTD            ab00") {
		t.Errorf("%v\n%s", err, &out)
	}
}
