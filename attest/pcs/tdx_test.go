package pcs

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
)

const tdxPath = "/tdx/certification/v4/"

func tdxFamily() Family {
	f := family
	f.TEE = quote.TDX
	return f
}

func tdxCollateral(t *testing.T) *attest.Collateral {
	t.Helper()
	i, err := attesttest.NewTDXIssuer("node-1", issued)
	if err != nil {
		t.Fatal(err)
	}
	c, err := i.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serveTDX makes a service have collateral for TDX as well.
func (s *service) serveTDX(t *testing.T) *attest.Collateral {
	t.Helper()
	c := tdxCollateral(t)
	handler := attesttest.Handler(c)
	s.first(func(w http.ResponseWriter, r *http.Request) bool {
		ours := strings.HasPrefix(r.URL.Path, "/tdx/")
		if ours {
			handler.ServeHTTP(w, r)
		}
		return ours
	})
	return c
}

// Collateral for trust domains has the same CRLs, which are not requested again, and TCB info and QE
// identity of its own.
func TestTDX(t *testing.T) {
	for _, k := range []kind{pccs, azure} {
		inBubble(t, func(t *testing.T) {
			s := newService(t)
			want := s.serveTDX(t)
			client := s.client(t, k)
			if b, err := client.Collateral(t.Context(), family); err != nil || b.TCBInfo != s.collateral.TCBInfo {
				t.Fatalf("SGX: %v", err)
			}
			s.take()
			b, err := client.Collateral(t.Context(), tdxFamily())
			if err != nil {
				t.Fatal(err)
			}
			if b.TCBInfo != want.TCBInfo || b.QEIdentity != want.QEIdentity || b.RootCRL.String() != s.collateral.RootCRL.String() {
				t.Errorf("%+v", b)
			}
			if f, err := b.Family(); err != nil || f != tdxFamily() {
				t.Errorf("%s, %v", f, err)
			}
			if requests := s.take(); !slices.Equal(requests, []string{tdxPath + "qe/identity", tdxPath + "tcb?fmspc=005A1D000000"}) {
				t.Errorf("requests %q", requests)
			}
			if b, err := client.Collateral(t.Context(), family); err != nil || b.TCBInfo != s.collateral.TCBInfo || len(s.take()) > 0 {
				t.Errorf("SGX again: %v", err)
			}
		})
	}
	_, pckCRL, tcbInfo, qeIdentity := Intel().parts(tdxFamily(), "early")
	if pckCRL.url != "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=processor&encoding=der" ||
		tcbInfo.url != "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=005A1D000000&update=early" ||
		qeIdentity.url != "https://api.trustedservices.intel.com/tdx/certification/v4/qe/identity?update=early" {
		t.Errorf("%+v, %+v, %+v", pckCRL, tcbInfo, qeIdentity)
	}
}

// A service that serves one TEE's collateral in place of the other's is found out.
func TestWrongTEE(t *testing.T) {
	for _, c := range []struct {
		name string
		want Family
		swap func(of, by *attest.Collateral)
		text string
	}{
		{"TDX in place of SGX", family, func(of, by *attest.Collateral) { *of = *by }, "it is for TDX, FMSPC 005A1D000000, processor CA, not for SGX"},
		{"TD_QE in place of QE", family, func(of, by *attest.Collateral) {
			of.QEIdentity, of.QEIdentitySignature = by.QEIdentity, by.QEIdentitySignature
		}, "the QE identity is for TDX (TD_QE)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t)
				c.swap(s.collateral, tdxCollateral(t))
				if _, err := s.client(t, pccs).Collateral(t.Context(), c.want); err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v, want %q", err, c.text)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		handler := attesttest.Handler(s.collateral) // of enclaves
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			r.URL.Path = strings.Replace(r.URL.Path, "/tdx/", "/sgx/", 1)
			handler.ServeHTTP(w, r)
			return true
		})
		if _, err := s.client(t, pccs).Collateral(t.Context(), tdxFamily()); err == nil || !strings.Contains(err.Error(), "it is for SGX, FMSPC 005A1D000000, processor CA, not for TDX") {
			t.Errorf("SGX in place of TDX: %v", err)
		}
	})
}

// From the URL of a service for SGX follows the one for TDX, or there is none.
func TestTDXPath(t *testing.T) {
	for base, want := range map[string]string{
		"https://pccs.example:8081":                        "https://pccs.example:8081/tdx/certification/v4/",
		"https://sgx.example/cache/sgx/certification/v4":   "https://sgx.example/cache/tdx/certification/v4/",
		"https://cache.example/sgx/x/sgx/certification/v4": "https://cache.example/sgx/x/tdx/certification/v4/",
		"https://cache.example/collateral":                 "",
	} {
		s, err := ServiceAt(base)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.checkFamily(tdxFamily()); (err == nil) != (want != "") || want != "" && s.tdxBase() != want {
			t.Errorf("%s: %s, %v", base, s.tdxBase(), err)
		}
		if err := s.checkFamily(family); err != nil {
			t.Errorf("%s: for SGX: %v", base, err)
		}
	}
	other, err := ServiceAt("https://cache.example/collateral")
	if err != nil {
		t.Fatal(err)
	}
	client := &Client{Service: other}
	defer client.Close()
	if _, err := client.Collateral(t.Context(), tdxFamily()); err == nil || !strings.Contains(err.Error(), "no /sgx/ in its path") {
		t.Errorf("%v", err)
	}
}

func TestFamilyOfTrustDomain(t *testing.T) {
	i, err := attesttest.NewTDXIssuer("node-1", issued)
	if err != nil {
		t.Fatal(err)
	}
	q, err := i.QuoteTD(attesttest.TrustDomain())
	if err != nil {
		t.Fatal(err)
	}
	if f, err := FamilyOf(q); err != nil || f != tdxFamily() {
		t.Errorf("%s, %v", f, err)
	}
}
