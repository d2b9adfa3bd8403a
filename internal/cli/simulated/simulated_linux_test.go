package simulated_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
)

func TestCollateral(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	clitest.MustRun(t, "simulated", "collateral", "--out-dir", dir)
	for _, name := range []string{"collateral.json", "root.pem", "tcb_info.json", "qe_identity.json", "tcb_sign_chain.pem", "pck_crl_issuer.pem", "pck_crl.der", "root_ca_crl.der"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
