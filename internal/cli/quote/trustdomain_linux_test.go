package quote_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/tdx"
)

// A quote of a trust domain is verified with collateral from a file or a service, if the policy
// states which trust domains are accepted.
func TestTrustDomain(t *testing.T) {
	issuer, err := attesttest.NewTDXIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	td := attesttest.TrustDomain()
	td.MRTD, td.RTMR[1] = tdx.Measurement{0xab}, tdx.Measurement{0xcd}
	td.TDAttributes = tdx.AttributePKS
	q, err := issuer.QuoteTD(td)
	if err != nil {
		t.Fatal(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	c, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	quoteFile, root, bundle := file("quote", data), file("root.pem", simulation.RootPEM()), file("collateral.json", collateral)
	service := httptest.NewServer(attesttest.Handler(c))
	defer service.Close()
	mrtd, rtmr := "ab"+strings.Repeat("00", 47), "cd"+strings.Repeat("00", 47)
	policy := file("policy.json", []byte(`{"trustDomain": {"mrTds": ["`+mrtd+`"], "allowSeptVe": true}}`))
	verify := func(args ...string) []string {
		return append([]string{"quote", "verify", quoteFile, "--root", root, "--collateral", bundle}, args...)
	}
	for _, v := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"inspect", []string{"quote", "inspect", quoteFile}, 0, "TD attributes   0x0000000040000000 PKS"},
		{"no policy", verify(), 2, "the policy names none"},
		{"a policy for enclaves", verify("--mrsigner", strings.Repeat("00", 32)), 1, "FAILED  TEE"},
		{"a policy file", verify("--policy", policy), 0, "TRUSTED until"},
		{"a policy file and a flag", verify("--policy", policy, "--rtmr1", rtmr), 0, "RTMR1"},
		{"a policy file that a flag overrides", verify("--policy", policy, "--mrtd", rtmr), 1, "FAILED  MRTD"},
		{"a policy file that a flag takes back", verify("--policy", policy, "--allow-sept-ve=false"), 1, "FAILED  SEPT_VE_DISABLE"},
		{"flags", verify("--mrtd", mrtd, "--rtmr1", mrtd, "--rtmr1", rtmr, "--allow-sept-ve"), 0, "TRUSTED until"},
		{"any", verify("--any-trust-domain", "--allow-sept-ve"), 0, "which trust domain it is"},
		{"without SEPT_VE_DISABLE", verify("--any-trust-domain"), 1, "FAILED  SEPT_VE_DISABLE"},
		{"another RTMR", verify("--policy", policy, "--rtmr2", rtmr), 1, "FAILED  RTMR2"},
		{"another TDX module", verify("--policy", policy, "--mrseam", rtmr), 1, "FAILED  MRSEAM"},
		{"from a service", []string{"quote", "verify", quoteFile, "--root", root, "--policy", policy, "--collateral", service.URL}, 0, "TRUSTED until"},
		{"no collateral", []string{"quote", "verify", quoteFile, "--root", root, "--policy", policy}, 2, "not checked"},
		{"fetch", []string{"collateral", "fetch", "--quote", quoteFile, "--root", root, "--url", service.URL, "--out", filepath.Join(dir, "fetched.json")}, 0, ""},
		{"fetch for a family", []string{"collateral", "fetch", "--fmspc", "005A1D000000", "--tee", "tdx", "--root", root, "--url", service.URL, "--out", filepath.Join(dir, "family.json")}, 0, ""},
		{"show", []string{"collateral", "show", filepath.Join(dir, "family.json"), "--root", root}, 0, "TDX, FMSPC 005A1D000000, processor CA"},
		{"verify with what was fetched", []string{"quote", "verify", quoteFile, "--root", root, "--policy", policy, "--collateral", filepath.Join(dir, "fetched.json")}, 0, "TRUSTED until"},
	} {
		if exit, out, errs := clitest.Run(t, nil, v.args...); exit != v.exit || !strings.Contains(out, v.want) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", v.name, exit, v.exit, v.want, out, errs)
		}
	}
	if _, _, errs := clitest.Run(t, nil, verify()...); !strings.Contains(errs, "pass --mrtd or --any-trust-domain") {
		t.Errorf("no advice without a policy: %q", errs)
	}
	for _, args := range [][]string{verify("--mrsigner", strings.Repeat("00", 32)), verify("--mrtd", rtmr)} {
		if _, _, errs := clitest.Run(t, nil, args...); strings.Contains(errs, "--mrtd") != (args[len(args)-2] == "--mrsigner") {
			t.Errorf("%v: %q", args, errs)
		}
	}
	for _, v := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing accepted", verify("--allow-sept-ve"), "does not state which trust domains are accepted"},
		{"any and one", verify("--any-trust-domain", "--mrtd", mrtd), "MRTDs contradict Any"},
		{"RTMR alone", verify("--any-trust-domain", "--rtmr1", rtmr), "RTMR0 to RTMR3 need MRTDs"},
		{"short", verify("--mrtd", "ab"), "96 hexadecimal digits"},
		{"an unknown TEE", []string{"collateral", "fetch", "--fmspc", "005A1D000000", "--tee", "sev", "--out", "-"}, "not one of sgx, tdx"},
	} {
		if exit, out, errs := clitest.Run(t, nil, v.args...); exit != 2 || !strings.Contains(errs, v.want) || out != "" {
			t.Errorf("%s: exit %d, want 2 and %q\n%s%s", v.name, exit, v.want, out, errs)
		}
	}
}
