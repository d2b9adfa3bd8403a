//go:build unix

package pcs

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
)

// Older parts than those in the cache replace none of them, although they are valid, and neither
// in memory nor in a directory.
func TestOlderResponses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		old := s.collateral
		time.Sleep(25 * time.Hour)
		var err error
		if s.collateral, err = attesttest.NewCollateral(time.Now()); err != nil {
			t.Fatal(err)
		}
		current := s.collateral
		client := s.client(t, pccs)
		client.Dir = newDir(t)
		var progress steps
		client.Progress = progress.add
		check := func(when string, c *Client, want *attest.Collateral) {
			t.Helper()
			b, err := c.Refresh(t.Context(), family)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			for name, same := range map[string]bool{
				"root CRL": slices.Equal(b.RootCRL, want.RootCRL), "PCK CRL": slices.Equal(b.PCKCRL, want.PCKCRL),
				"TCB info": b.TCBInfo == want.TCBInfo, "QE identity": b.QEIdentity == want.QEIdentity,
			} {
				if !same {
					t.Errorf("%s: another %s", when, name)
				}
			}
		}
		check("new", client, current)
		progress.take()

		s.collateral = old
		time.Sleep(2 * time.Hour)
		check("all of it is older", client, current)
		if lines := progress.take(); !slices.Contains(lines, "the PCK CRL: failed, cached") {
			t.Errorf("reported %q", lines)
		}
		again := s.client(t, pccs)
		again.Dir = client.Dir
		time.Sleep(2 * time.Hour)
		check("the next process", again, current)

		s.collateral = current
		oldCRL := attesttest.Files(old)["pck_crl.der"]
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/pckcrl") {
				return false
			}
			w.Header().Set("SGX-PCK-CRL-Issuer-Chain", strings.ReplaceAll(strings.ReplaceAll(old.PCKCRLIssuerChain, " ", "%20"), "\n", "%0A"))
			w.Write(oldCRL)
			return true
		})
		time.Sleep(2 * time.Hour)
		check("the CRL is older", client, current)
		_, _, tcbInfo, _ := client.Service.parts(family, "")
		if err := os.Remove(filepath.Join(client.Dir, fileName(tcbInfo))); err != nil {
			t.Fatal(err)
		}
		another := s.client(t, pccs)
		another.Dir = client.Dir
		check("the CRL is older, and the next process has only a part of the collateral", another, current)

		s.first(nil)
		if s.collateral, err = attesttest.NewCollateral(time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		check("newer", client, s.collateral)
	})
}
