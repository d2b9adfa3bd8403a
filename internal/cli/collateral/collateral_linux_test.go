package collateral_test

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
)

func TestFetchAndShow(t *testing.T) {
	service, dir := clitest.ServePCCS(t), t.TempDir()
	ownTLS := httptest.NewTLSServer(clitest.PCCS(t))
	ownTLS.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer ownTLS.Close()
	file := func(name string) string { return filepath.Join(dir, name) }
	clitest.MustRun(t, "quote", "get", "--socket", clitest.Serve(t), "--out", file("quote"))
	clitest.MustRun(t, "simulated", "root", "--out", file("root.pem"))
	for _, c := range []struct {
		name      string
		args      []string
		exit      int
		out, errs string // parts of what is printed
	}{
		{"by a quote", []string{"collateral", "fetch", "--quote", file("quote"), "--url", service, "--root", file("root.pem"), "--out", file("a.json")},
			0, "", "the TCB info: fetched from " + service + "/sgx/certification/v4/tcb?fmspc=005A1D000000"},
		{"by name", []string{"collateral", "fetch", "--fmspc", "005a1d000000", "--url", service, "--root", file("root.pem"), "--out", "-"}, 0, `"fetched_at"`, "the root CRL: fetched from"},
		{"into a cache", []string{"collateral", "fetch", "--fmspc", "005a1d000000", "--url", service, "--root", file("root.pem"), "--out", file("b.json"), "--cache", file("cache")}, 0, "", "fetched from"},
		{"from a cache", []string{"collateral", "fetch", "--fmspc", "005a1d000000", "--url", service, "--root", file("root.pem"), "--out", file("b.json"), "--cache", file("cache")}, 0, "", "the QE identity: cached"},
		{"with a self-signed certificate", []string{"collateral", "fetch", "--fmspc", "005a1d000000", "--url", ownTLS.URL, "--root", file("root.pem"), "--out", file("d.json"), "--skip-tls-check"}, 0, "", "fetched from https://"},
		{"which is rejected", []string{"collateral", "fetch", "--fmspc", "005a1d000000", "--url", ownTLS.URL, "--root", file("root.pem"), "--out", file("c.json")}, 2, "", "--skip-tls-check"},
		{"show", []string{"collateral", "show", file("a.json"), "--root", file("root.pem")}, 0, "platforms         SGX, FMSPC 005A1D000000, processor CA", ""},
		{"show as JSON", []string{"collateral", "show", file("a.json"), "--root", file("root.pem"), "-o", "json"}, 0, `"tcbEvaluationDataNumber": 17`, ""},
		{"show it after it has expired", []string{"collateral", "show", file("a.json"), "--root", file("root.pem"), "--at", "2060-01-01T00:00:00Z"}, 1, "NOT VALID", ""},
		{"show it, trusting Intel's root", []string{"collateral", "show", file("a.json")}, 1, "FAILED  trusted root", ""},
		{"verify with the file", []string{"quote", "verify", file("quote"), "--any-enclave", "--collateral", file("a.json"), "--root", file("root.pem")}, 0, "TRUSTED until", ""},
		{"verify with the service", []string{"quote", "verify", file("quote"), "--any-enclave", "--collateral", service, "--root", file("root.pem")}, 0, "TRUSTED until", "the PCK CRL: fetched from"},

		{"trusting Intel's root", []string{"collateral", "fetch", "--quote", file("quote"), "--url", service, "--out", file("c.json")}, 2, "", "not that of a trusted root"},
		{"another family", []string{"collateral", "fetch", "--fmspc", "00906ED50000", "--url", service, "--root", file("root.pem"), "--out", file("c.json")}, 2, "", "not for SGX, FMSPC 00906ED50000"},
		{"no family", []string{"collateral", "fetch", "--url", service, "--out", file("c.json")}, 2, "", "missing flag: pass --quote or --fmspc"},
		{"two families", []string{"collateral", "fetch", "--quote", file("quote"), "--fmspc", "00906ED50000", "--out", file("c.json")}, 2, "", "pass only one of them"},
		{"no FMSPC", []string{"collateral", "fetch", "--fmspc", "x", "--url", service, "--out", file("c.json")}, 2, "", "12 hexadecimal digits"},
		{"no CA", []string{"collateral", "fetch", "--fmspc", "00906ED50000", "--ca", "x", "--url", service, "--out", file("c.json")}, 2, "", "want processor or platform"},
		{"no URL", []string{"collateral", "fetch", "--fmspc", "00906ED50000", "--url", "pccs.example", "--out", file("c.json")}, 2, "", "not the URL of a service"},
		{"no such update", []string{"collateral", "fetch", "--fmspc", "00906ED50000", "--url", service, "--update", "late", "--out", file("c.json")}, 2, "", "not one of early, standard"},
		{"no timeout", []string{"collateral", "fetch", "--fmspc", "00906ED50000", "--url", service, "--timeout", "0s", "--out", file("c.json")}, 2, "", "greater than 0"},
		{"show nothing", []string{"collateral", "show", file("none")}, 2, "", "no such file"},
		{"show a quote", []string{"collateral", "show", file("quote")}, 2, "", "invalid character"},
	} {
		exit, out, errs := clitest.Run(t, nil, c.args...)
		if exit != c.exit || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: exit %d, want %d, %q and %q\n%s%s", c.name, exit, c.exit, c.out, c.errs, out, errs)
		}
	}
	if _, err := os.Stat(file("c.json")); err == nil {
		t.Error("invalid collateral was written")
	}
}
