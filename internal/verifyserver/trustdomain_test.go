package verifyserver

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// A quote of a trust domain, also in a larger buffer, is verified with collateral for it, and by the
// policy's part for trust domains.
func TestTrustDomain(t *testing.T) {
	s, handler, _, from := newService(t, attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: []tdx.Measurement{{1}}}})
	issuer, err := attesttest.NewTDXIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	td := attesttest.TrustDomain()
	td.MRTD = tdx.Measurement{1}
	q, err := issuer.QuoteTD(td)
	if err != nil {
		t.Fatal(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if from.collateral, err = issuer.Collateral(); err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{data, append(data[:len(data):len(data)], make([]byte, 100)...)} {
		status, answer := post(handler, "application/octet-stream", body)
		if body, _ := answer["trustDomain"].(map[string]any); status != http.StatusOK || answer["trusted"] != true || body["mrTD"] != td.MRTD.String() || answer["enclave"] != nil {
			t.Errorf("status %d, %v", status, answer)
		}
	}
	if status, _ := post(handler, "application/octet-stream", append(data[:len(data):len(data)], 1)); status != http.StatusBadRequest {
		t.Errorf("followed by a byte: status %d", status)
	}
	s.Policy = func() Policy { return Policy{Policy: attest.Policy{MRSigners: []sgx.Measurement{{}}}} }
	if status, answer := post(handler, "application/octet-stream", data); status != http.StatusOK || answer["trusted"] != false || answer["trustDomain"] != nil {
		t.Errorf("with a policy for enclaves: status %d, %v", status, answer)
	}
}

// Genuine quotes of trust domains are verified with the collateral of their time, and appraised by
// the part of the policy for them.
func TestGenuineTrustDomains(t *testing.T) {
	const vectors = "../../../shared/vectors"
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("NOT RUN: no genuine quotes: %v", err)
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(vectors, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const (
		v4 = "91eb2b44d141d4ece09f0c75c2c53d247a3c68edd7fafe8a3520c942a604a407de03ae6dc5f87f27428b2538873118b7"
		v5 = "157768a71a6a31f5561978c4cde665809d22976ef5dead2952839b7b3ea23b6c2931c9148fe1d117c99faefac18bb73b"
	)
	june, march := time.Date(2025, 6, 25, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, quote, collateral string
		at                      time.Time
		policy                  string
		mrtd                    string // empty if it is not trusted
		reason                  string
	}{
		{"version 4", "phala/sample__tdx_quote", "phala/sample__tdx_quote_collateral.json", june, `{"trustDomain": {"mrTds": ["` + v4 + `"]}}`, v4, ""},
		{"another MRTD", "phala/sample__tdx_quote", "phala/sample__tdx_quote_collateral.json", june, `{"trustDomain": {"mrTds": ["` + v5 + `"]}}`, "", "MRTD"},
		{"a policy for enclaves", "phala/sample__tdx_quote", "phala/sample__tdx_quote_collateral.json", june, `{"anyEnclave": true}`, "", "TEE"},
		{"later", "phala/sample__tdx_quote", "phala/sample__tdx_quote_collateral.json", march, `{"trustDomain": {"any": true}}`, "", "the collateral cannot be used"},
		{"version 5, out of date", "automata/rust-crates__samples__quotev5.dat", "phala/sample__tdx_quote_outdated_collateral.json", march,
			`{"trustDomain": {"mrTds": ["` + v5 + `"]}}`, "", "OutOfDate"},
		{"version 5, accepted", "automata/rust-crates__samples__quotev5.dat", "phala/sample__tdx_quote_outdated_collateral.json", march,
			`{"trustDomain": {"mrTds": ["` + v5 + `"]}, "statuses": ["OutOfDate"]}`, v5, ""},
	} {
		policyFile := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(policyFile, []byte(c.policy), 0o600); err != nil {
			t.Fatal(err)
		}
		policy, err := ReadPolicy(policyFile)
		if err != nil {
			t.Fatal(err)
		}
		collateral, err := attest.ParseCollateral(read(c.collateral))
		if err != nil {
			t.Fatal(err)
		}
		data := read(c.quote)
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(c.at))
				s, handler, _, from := newService(t, policy.Policy)
				s.Verifier, from.collateral = attest.NewVerifier(attest.IntelRoot()), collateral
				status, answer := post(handler, mediaTypeBytes, data)
				td, _ := answer["trustDomain"].(map[string]any)
				mrtd, _ := td["mrTD"].(string)
				reason, _ := answer["reason"].(string)
				if status != http.StatusOK || answer["trusted"] != (c.mrtd != "") || mrtd != c.mrtd || !strings.Contains(reason, c.reason) || from.fetched > 1 {
					t.Errorf("status %d, %v", status, answer)
				}
			})
		})
	}
}
