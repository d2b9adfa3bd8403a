package attest_test

import (
	"encoding/hex"
	"os"
	"testing"

	"github.com/confcom/confcom/attest"
)

// Genuine PCK certificates, issued by the Processor CA and by the Platform CA.
func TestParsePlatform(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	for file, want := range map[string]struct {
		fmspc    string
		kind     attest.PlatformType
		platform bool
	}{
		"phala/sample__sgx_quote":                 {"00a067110000", attest.Standard, false},
		"automata/quotev3.decoded.bin":            {"00606a000000", attest.Scalable, true},
		"oasis/quote_v3_ecdsa_p256_pck_chain.bin": {"00606a000000", attest.Scalable, true},
	} {
		p, err := attest.ParsePlatform(certificates(t, readVector(t, file))[0])
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if p.FMSPC.String() != want.fmspc || p.Type != want.kind || (p.InstanceID != nil) != want.platform || (p.SMTEnabled != nil) != want.platform ||
			p.PCESVN == 0 || hex.EncodeToString(p.Components[:]) != p.CPUSVN.String() || len(p.PPID) != 16 {
			t.Errorf("%s: %+v", file, p)
		}
	}
	if _, err := attest.ParsePlatform(certificates(t, readVector(t, "phala/sample__sgx_quote"))[1]); err == nil {
		t.Error("ParsePlatform accepted a CA certificate")
	}
}
