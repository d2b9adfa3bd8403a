package quote_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

func TestGetInspectVerify(t *testing.T) {
	socket, dir := clitest.Serve(t), t.TempDir()
	binary, text, root := filepath.Join(dir, "quote.bin"), filepath.Join(dir, "quote.pem"), filepath.Join(dir, "root.pem")
	clitest.MustRun(t, "quote", "get", "--socket", socket, "--out", binary, "--report-data", "c0ffee")
	clitest.MustRun(t, "quote", "get", "--socket", socket, "--out", text, "--pem")
	clitest.MustRun(t, "simulated", "root", "--out", root)
	pem, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	log := append([]byte("lines of a log\n"), pem...)
	bytes, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	hexadecimal := fmt.Appendf(nil, "0x%x000000\n", bytes) // with padding
	collateral := filepath.Join(dir, "collateral")
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", collateral)
	policyFile := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	policy := policyFile("policy.json", `{"mrSigners": ["`+strings.Repeat("00", 32)+`"], "reportData": "c0ffee"}`)
	expired := policyFile("expired.json", `{"acceptExpired": true}`)
	signer := fmt.Sprintf("%x", sha256.Sum256([]byte("SIMULATED: signer of the confcom command")))

	verify := func(args ...string) []string {
		return append([]string{"quote", "verify", binary, "--root", root, "--collateral", collateral}, args...)
	}
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
		{"inspect padded hexadecimal", hexadecimal, []string{"quote", "inspect", "-"}, 0, "form              hexadecimal > quote, then 3 bytes of padding"},
		{"verify", nil, verify("--any-enclave"), 0, "TRUSTED until"},
		{"verify a log", log, []string{"quote", "verify", "-", "--root", root, "--collateral", filepath.Join(collateral, "collateral.json"), "--any-enclave"}, 0, "TRUSTED until"},
		{"verify hexadecimal", hexadecimal, []string{"quote", "verify", "-", "--root", root, "--collateral", collateral, "--any-enclave"}, 0, "TRUSTED until"},
		{"verify without the root", nil, []string{"quote", "verify", binary, "--collateral", collateral}, 1, "NOT TRUSTED"},
		{"verify the nonce", nil, verify("--any-enclave", "--report-data", "c0ffee"), 0, "report data "},
		{"verify another nonce", nil, verify("--any-enclave", "--report-data", "c0ffef"), 1, "FAILED  report data"},
		{"a policy file", nil, verify("--policy", policy), 1, "FAILED  MRSIGNER"},
		{"a policy file that a flag overrides", nil, verify("--policy", policy, "--mrsigner", signer), 0, "TRUSTED until"},
		{"a flag before the policy file", nil, verify("--mrsigner", signer, "--policy", policy), 0, "TRUSTED until"},
		{"a flag for another field", nil, verify("--policy", policy, "--mrenclave", strings.Repeat("00", 32)), 1, "FAILED  MRSIGNER"},
		{"a list of two", nil, verify("--mrsigner", strings.Repeat("00", 32), "--mrsigner", signer), 0, "TRUSTED until"},
		{"a policy file that a flag completes", nil, verify("--any-enclave", "--policy", expired, "--max-collateral-age", "720h"), 0, "TRUSTED until"},
		{"a flag completes the policy file after it", nil, verify("--any-enclave", "--max-collateral-age", "720h", "--policy", expired), 0, "TRUSTED until"},
		{"a flag that takes back what the file accepts", nil, verify("--any-enclave", "--policy", expired, "--accept-expired=false"), 0, "TRUSTED until"},
		{"no advisory", nil, verify("--any-enclave", "--accept-advisory="), 0, "TRUSTED until"},
		{"the product", nil, verify("--mrsigner", signer, "--product", "0", "--min-svn", "0"), 0, "TRUSTED until"},
		{"another product", nil, verify("--mrsigner", signer, "--product", "0x1"), 1, "NOT TRUSTED (failed: product"},
		{"verify at another time", nil, []string{"quote", "verify", binary, "--root", root, "--at", "2001-01-01T00:00:00Z"}, 1, "not at 2001-01-01T00:00:00Z"},
	} {
		exit, out, errs := clitest.Run(t, c.stdin, c.args...)
		if exit != c.exit || !strings.Contains(out, c.want) || errs != "" {
			t.Errorf("%s: exit %d\n%s%s", c.name, exit, out, errs)
		}
	}

	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"without collateral", "verification needs collateral: pass --collateral\n", []string{"quote", "verify", binary, "--root", root, "--any-enclave"}},
		{"without a policy", "verification must know what to accept: pass --mrenclave, --mrsigner or --any-enclave, or a --policy file\n", verify()},
		{"without both", "pass --collateral; and must know what to accept: pass --mrenclave", []string{"quote", "verify", binary, "--root", root}},
		{"a service that is down", "fetch collateral: ", []string{"quote", "verify", binary, "--root", root, "--collateral", "http://127.0.0.1:1", "--any-enclave"}},
	} {
		exit, out, errs := clitest.Run(t, nil, c.args...)
		if exit != 2 || !strings.Contains(out, "INCOMPLETE: ") || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d\n%s%s", c.name, exit, out, errs)
		}
	}
	out := clitest.MustRun(t, verify("--any-enclave", "-o", "json")...)
	var result attest.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil || !result.Trusted || len(result.NotChecked) == 0 || result.Status != attest.UpToDate {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}

// The form of evidence is printed, what was attached, and what was not checked.
func TestForms(t *testing.T) {
	socket, dir := clitest.Serve(t), t.TempDir()
	binary, root, request := filepath.Join(dir, "quote.bin"), filepath.Join(dir, "root.pem"), filepath.Join(dir, "request.json")
	clitest.MustRun(t, "simulated", "root", "--out", root)
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", dir)
	hash := sha256.Sum256([]byte("held"))
	clitest.MustRun(t, "quote", "get", "--socket", socket, "--out", binary, "--report-data", fmt.Sprintf("%x", hash))
	quote, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		held       string
		bound      bool
		inText     string
		notChecked int // lines about the runtime data
	}{
		{"held", true, "attached          runtime data, 4 bytes; the report data begins with its SHA-256\n\nok ", 0},
		{"other", false, "attached          runtime data, 5 bytes\n\nok ", 1},
	} {
		text, err := json.Marshal(map[string]any{"quote": quote, "runtimeData": map[string]any{"data": []byte(c.held), "dataType": "Binary"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(request, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out := clitest.MustRun(t, "quote", "verify", request, "--root", root, "--any-enclave", "--collateral", dir)
		if !strings.HasPrefix(out, "form              request to Azure Attestation > base64 > quote\n"+c.inText) ||
			strings.Count(out, "-   not checked              whether the runtime data belongs to the quote\n") != c.notChecked {
			t.Errorf("%s", out)
		}
		for _, args := range [][]string{{"quote", "verify", request, "--root", root, "--any-enclave", "--collateral", dir, "-o", "json"}, {"quote", "inspect", request, "-o", "json"}} {
			out := clitest.MustRun(t, args...)
			var printed struct {
				Evidence   evidence.Summary
				NotChecked []string
				Trusted    *bool
				Header     map[string]any
			}
			err := json.Unmarshal([]byte(out), &printed)
			if a := printed.Evidence.Attachments; err != nil || len(printed.Evidence.Forms) != 3 || len(a) != 1 || a[0].Kind != evidence.RuntimeData || a[0].InReportData != c.bound {
				t.Errorf("%v, %s", err, out)
			}
			if verified := printed.Trusted != nil; verified == (printed.Header != nil) ||
				verified && slices.Contains(printed.NotChecked, "whether the runtime data belongs to the quote") == c.bound {
				t.Errorf("%q: %s", args, out)
			}
		}
	}
}

func TestReport(t *testing.T) {
	exit, out, errs := clitest.Run(t, nil, "quote", "report", "--socket", clitest.Serve(t), "--out", "-")
	var report sgx.Report
	if err := report.UnmarshalBinary([]byte(out)); exit != 0 || err != nil {
		t.Errorf("exit %d, %v: %s", exit, err, errs)
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
	_, whole, _ := clitest.Run(t, nil, "quote", "get", "--socket", clitest.Serve(t), "--out", "-")
	good := file("good", []byte(whole))
	truncated := file("truncated", []byte(whole)[:1000])
	trailing := file("trailing", append([]byte(whole), 0, 1))
	empty := file("empty", nil)
	text := file("text", []byte("a log\nwithout a quote\n"))
	_, block, _ := clitest.Run(t, nil, "quote", "get", "--socket", clitest.Serve(t), "--out", "-", "--pem")
	twice := file("twice", []byte(block+block))

	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"quote", "verify"}, 2, "missing argument FILE"},
		{[]string{"quote", "verify", filepath.Join(dir, "absent")}, 2, "no such file"},
		{[]string{"quote", "verify", dir}, 2, "is a directory"},
		{[]string{"quote", "verify", empty}, 2, "is empty"},
		{[]string{"quote", "verify", truncated}, 2, "data ends here"},
		{[]string{"quote", "inspect", truncated}, 2, "offset"},
		{[]string{"quote", "verify", trailing}, 2, "left over: 2 bytes follow the quote"},
		{[]string{"quote", "verify", good, "--root", empty}, 2, "is empty"},
		{[]string{"quote", "verify", good, "--root", text}, 2, "certificate 1: not complete PEM"},
		{[]string{"quote", "verify", good, "--root", ""}, 2, "--root: the name of the file is empty"},
		{[]string{"quote", "verify", good, "--collateral", text}, 2, "collateral: invalid character"},
		{[]string{"quote", "verify", good, "--collateral", dir}, 2, "collateral.json: no such file"},
		{[]string{"quote", "verify", good, "--policy", text}, 2, "--policy="},
		{[]string{"quote", "verify", good, "--accept-status", "Fine"}, 2, "want one of"},
		{[]string{"quote", "verify", good, "--mrsigner", "00"}, 2, "64 hexadecimal digits"},
		{[]string{"quote", "verify", good, "--min-svn", "1"}, 2, "MRSigners"},
		{[]string{"quote", "verify", good, "--min-svn", "65536"}, 2, "from 0 to 65535"},
		{[]string{"quote", "verify", good, "--report-data", "xyz"}, 2, "not hexadecimal"},
		{[]string{"quote", "verify", good, "--mrenclave", ""}, 2, "64 hexadecimal digits"},
		{[]string{"quote", "verify", good, "--accept-expired"}, 2, "MaxCollateralAge"},
		{[]string{"quote", "verify", good, "--policy", ""}, 2, "--policy: "},
		{[]string{"quote", "verify", good, "--policy", file("unknown", []byte(`{"mrSigner": []}`))}, 2, `unknown member "mrSigner"`},
		{[]string{"quote", "verify", good, "--policy", file("null", []byte(`null`))}, 2, "want a JSON object"},
		{[]string{"quote", "verify", good, "--policy", file("no-signer", []byte(`{"mrSigners":[]}`))}, 2, "mrSigners: empty list"},
		{[]string{"quote", "verify", good, "--policy", file("no-platform", []byte(`{"platformInstances":[]}`))}, 2, "platformInstances: empty list"},
		{[]string{"quote", "verify", good, "--policy", file("two-signers", []byte(`{"mrSigners":["`+strings.Repeat("0", 63)+`1"],"mrsigners":[]}`))}, 2, `unknown member "mrsigners"`},
		{[]string{"quote", "verify", good, "--policy", file("negative", []byte(`{"minEvaluationDataNumber":-5}`))}, 2, "MinEvaluationDataNumber is -5"},
		{[]string{"quote", "verify", good, "--report-data", ""}, 2, "empty"},
		{[]string{"quote", "verify", good, "--policy", file("expired", []byte(`{"acceptExpired": true}`))}, 2, "MaxCollateralAge"},
		{[]string{"quote", "verify", good, good}, 2, "one FILE is accepted"},
		{[]string{"quote", "verify", good, "--at", ""}, 2, "--at"},
		{[]string{"quote", "verify", text}, 2, "text without a quote"},
		{[]string{"quote", "verify", twice}, 2, "two quotes in one text"},
		{[]string{"quote", "verify", good, "--root", filepath.Join(dir, "absent")}, 2, "--root"},
		{[]string{"quote", "verify", good, "--at", "noon"}, 2, "2026-01-31T12:00:00Z"},
		{[]string{"quote", "verify", good, "-o", "xml"}, 2, "not one of text, json"},
		{[]string{"quote", "get", "--socket", filepath.Join(dir, "absent"), "--out", "-"}, 1, "is the quote helper running on this node"},
		{[]string{"quote", "get"}, 2, "--out: missing"},
		{[]string{"quote", "get", "--out", "-", "--report", filepath.Join(dir, "absent")}, 2, "no such file"},
		{[]string{"quote", "get", "--out", "-", "--report", os.Args[0]}, 2, "432"},
		{[]string{"quote", "get", "--out", "-", "--report", file("report", make([]byte, 432)), "--report-data", "00"}, 2, "pass only one of them"},
		{[]string{"quote", "get", "--out", "-", "--report-data", "xyz"}, 2, "not hexadecimal"},
		{[]string{"quote", "get", "--out", "-", "--report-data", strings.Repeat("00", 65)}, 2, "65 bytes do not fit"},
		{[]string{"simulated", "root", "--out", filepath.Join(dir, "absent", "root.pem")}, 1, "write root certificate to "},
		{[]string{"nonsense"}, 2, "unknown command"},
		{[]string{"quote"}, 2, "missing subcommand: one of get, inspect, report, verify"},
		{[]string{"quote", "verfy", good}, 2, "Did you mean this?\n\tverify\n"},
		{[]string{"simulated", "nonsense"}, 2, `unknown command "nonsense"`},
	} {
		exit, out, errs := clitest.Run(t, nil, c.args...)
		if exit != c.exit || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, want %d and %q\n%s%s", c.args, exit, c.exit, c.want, out, errs)
		}
	}
}

// The bytes of a quote are verified themselves, even if they contain another quote.
func TestQuoteInsideAQuote(t *testing.T) {
	socket := clitest.Serve(t)
	_, good, _ := clitest.Run(t, nil, "quote", "get", "--socket", socket, "--out", "-", "--pem")
	_, other, _ := clitest.Run(t, nil, "quote", "get", "--socket", socket, "--out", "-")
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
	clitest.Run(t, nil, "simulated", "root", "--out", root)
	if exit, out, errs := clitest.Run(t, forged, "quote", "verify", "-", "--root", root); exit == 0 {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}
