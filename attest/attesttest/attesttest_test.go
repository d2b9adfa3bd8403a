package attesttest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/tdx"
)

func newIssuer(t *testing.T) *attesttest.Issuer {
	t.Helper()
	i, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func issueQuote(t *testing.T, i *attesttest.Issuer) (*quote.Quote, []byte) {
	t.Helper()
	q, err := i.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return q, data
}

func issueCollateral(t *testing.T, i *attesttest.Issuer) (*attest.Collateral, []byte) {
	t.Helper()
	c, err := i.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, text
}

// The bytes never change.
func TestGolden(t *testing.T) {
	i := newIssuer(t)
	check := func(name string, data []byte, want string) {
		t.Helper()
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
			t.Errorf("%s has SHA-256 %s, want %s", name, got, want)
		}
	}
	_, collateral := issueCollateral(t, i)
	check("collateral", collateral, "dd1b71bc7bfa99b48b096297ae0904b0640b9a7f44dcc57d0f89ff16c6949da2")
	for version, want := range map[quote.Version]string{
		quote.Version3: "396f72779d6b14c3cfdb18e6473b865c4bb45fc7aa99b2a0893c00ce0b84a8fc",
		quote.Version4: "e4cb10dbfec13fdcfbfb65ea3f982efec7c2c959ccf8c85788ad369a3b60b93b",
		quote.Version5: "e9b08b70d6fe8e1b8a9457869d3146d7c928ea01662cd8e6fad14fdfed06e2ab",
	} {
		i.Version = version
		_, data := issueQuote(t, i)
		check(fmt.Sprintf("quote version %d", version), data, want)
	}
	i.Version, i.Extension.InstanceID = quote.Version3, make([]byte, 16)
	_, data := issueQuote(t, i)
	check("quote with a platform instance", data, "a8434fec31c014f713b112f481454e9b5434e6d55f264126f138d64fd6e633a0")
}

// The same for a TDX platform.
func TestGoldenTDX(t *testing.T) {
	i, err := attesttest.NewTDXIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	_, collateral := issueCollateral(t, i)
	tdx15 := attesttest.TrustDomain()
	tdx10, extended := tdx15, attesttest.TrustDomain()
	tdx10.TDX15, extended.TDX15.Ex = nil, new(tdx.ReportBody15Ex)
	got := map[string][]byte{"collateral": collateral}
	for name, td := range map[string]tdx.ReportBody{"TDX 1.0": tdx10, "TDX 1.5": tdx15, "TDX 1.5 extended": extended} {
		q, err := i.QuoteTD(td)
		if err != nil {
			t.Fatal(err)
		}
		if got[name], err = q.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"collateral":       "80fe7f3a46cdbef5611e9afd3f13f4d700b3aceed79fa13846deb41704a5fc40",
		"TDX 1.0":          "76f0e5b882ac7c1382adfd5692bf12cb1b7b5f0aaac93e2f045a9501c0b29a6b",
		"TDX 1.5":          "ac46859bbd355229eeab56ad2f560033c6dd4fbced4b3376295f372dd398a051",
		"TDX 1.5 extended": "73ac63cb91176d4a03878d94049c4643f67b7167cd06cc81ba8cdaa229bca4f8",
	} {
		if sum := fmt.Sprintf("%x", sha256.Sum256(got[name])); sum != want {
			t.Errorf("%s has SHA-256 %s, want %s", name, sum, want)
		}
	}
	i.Version = quote.Version4
	if _, err := i.QuoteTD(tdx15); err == nil {
		t.Error("issued a quote of version 4 on a trust domain of TDX 1.5")
	}
}

// A quote does not change with the body that it was issued for.
func TestQuoteTDCopies(t *testing.T) {
	i, err := attesttest.NewTDXIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	td := attesttest.TrustDomain()
	q, err := i.QuoteTD(td)
	if err != nil {
		t.Fatal(err)
	}
	td.TDX15.TEETCBSVN2[0]++
	if q.TD.TDX15.TEETCBSVN2 == td.TDX15.TEETCBSVN2 {
		t.Error("the quote shares memory with its issuer's caller")
	}
}

func TestCollateral(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.FixedZone("", 3600))
	c, err := attesttest.NewCollateral(now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := attesttest.NewCollateral(now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := json.Marshal(again); !bytes.Equal(text, other) {
		t.Error("collateral of the same day differs")
	}
	for _, want := range []string{`"id":"SGX","version":3,"issueDate":"2026-03-04T00:00:00Z","nextUpdate":"2026-04-03T00:00:00Z","fmspc":"005A1D000000"`, `{"svn":7},{"svn":7},{"svn":2}`} {
		if !strings.Contains(c.TCBInfo, want) {
			t.Errorf("no %s in %s", want, c.TCBInfo)
		}
	}
	if !strings.Contains(c.QEIdentity, `"id":"QE","version":2`) {
		t.Errorf("QE identity: %s", c.QEIdentity)
	}
	for name, data := range attesttest.Files(c) {
		if len(data) == 0 {
			t.Errorf("%s is empty", name)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(data) {
			t.Errorf("%s is not JSON: %s", name, data)
		}
	}
}

// Every case has the same bytes each time, has a name of its own, and says what fails.
func TestCases(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range attesttest.Cases() {
		var before []byte
		for range 2 {
			q, collateral, err := c.Issue()
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			data, err := q.MarshalBinary()
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			text, err := json.Marshal(collateral)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			if data = append(data, text...); before != nil && !bytes.Equal(before, data) {
				t.Errorf("%s: the bytes differ", c.Name)
			}
			before = data
		}
		if names[c.Name] {
			t.Errorf("%s: two cases have this name", c.Name)
		}
		names[c.Name] = true
		if valid := strings.HasPrefix(c.Name, "valid"); valid != (len(c.Failed) == 0) || c.At.IsZero() {
			t.Errorf("%s: fails %q at %s", c.Name, c.Failed, c.At)
		}
	}
}

func TestPlatformCA(t *testing.T) {
	i := newIssuer(t)
	if err := i.UsePlatformCA(); err != nil {
		t.Fatal(err)
	}
	q, _ := issueQuote(t, i)
	c, _ := issueCollateral(t, i)
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	r, err := attest.NewVerifier(root).Verify(q, c, attest.Policy{AnyEnclave: true, PlatformInstances: []quote.HexBytes{i.Extension.InstanceID}}, attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Platform.InstanceID) != 16 || r.Platform.SMTEnabled == nil {
		t.Errorf("platform %+v", r.Platform)
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	if name := chain[1].Subject.CommonName; name != "SIMULATED (NOT INTEL) SGX PCK Platform CA" {
		t.Errorf("the issuer of the PCK certificate is %q", name)
	}
}

// Every certificate says that it is not Intel's.
func TestLabel(t *testing.T) {
	q, _ := issueQuote(t, newIssuer(t))
	c, _ := issueCollateral(t, newIssuer(t))
	for _, text := range [][]byte{q.Signature.CertificationData.Data, []byte(c.PCKCRLIssuerChain), []byte(c.TCBInfoIssuerChain), []byte(c.QEIdentityIssuerChain)} {
		chain, err := quote.ParseCertificates(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, certificate := range chain {
			if name := certificate.Subject.CommonName; !strings.HasPrefix(name, attesttest.Label) {
				t.Errorf("a certificate has the name %q", name)
			}
		}
	}
}

func TestHandler(t *testing.T) {
	c, _ := issueCollateral(t, newIssuer(t))
	files := attesttest.Files(c)
	handler := attesttest.Handler(c)
	const base = "/sgx/certification/v4/"
	for _, r := range []struct {
		path, header, chain string
		body                []byte
	}{
		{base + "rootcacrl", "", "", c.RootCRL},
		{base + "pckcrl?uri=https%3A%2F%2Fcertificates.trustedservices.intel.com%2FIntelSGXRootCA.der", "", "", c.RootCRL},
		{base + "pckcrl?ca=processor&encoding=der", "SGX-PCK-CRL-Issuer-Chain", c.PCKCRLIssuerChain, c.PCKCRL},
		{base + "tcb?fmspc=005A1D000000", "TCB-Info-Issuer-Chain", c.TCBInfoIssuerChain, files["tcb_info.json"]},
		{base + "qe/identity", "SGX-Enclave-Identity-Issuer-Chain", c.QEIdentityIssuerChain, files["qe_identity.json"]},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", r.path, nil))
		if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), r.body) {
			t.Errorf("%s: status %d, %q", r.path, w.Code, w.Body)
		}
		if chain, err := url.PathUnescape(w.Header().Get(r.header)); r.header != "" && (err != nil || chain != r.chain) {
			t.Errorf("%s: issuer chain %q, %v", r.path, chain, err)
		}
	}
	tdxIssuer, err := attesttest.NewTDXIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	td, _ := issueCollateral(t, tdxIssuer)
	for path, want := range map[string][]byte{
		"/tdx/certification/v4/tcb?fmspc=005A1D000000": attesttest.Files(td)["tcb_info.json"],
		"/tdx/certification/v4/qe/identity":            attesttest.Files(td)["qe_identity.json"],
		base + "rootcacrl":                             td.RootCRL,
		base + "tcb":                                   nil,
	} {
		w := httptest.NewRecorder()
		attesttest.Handler(td).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if found := w.Code == 200; found != (want != nil) || found && !bytes.Equal(w.Body.Bytes(), want) {
			t.Errorf("for TDX: %s: status %d, %q", path, w.Code, w.Body)
		}
	}

	w := httptest.NewRecorder()
	if handler.ServeHTTP(w, httptest.NewRequest("GET", base+"other", nil)); w.Code != 404 {
		t.Errorf("another path: status %d", w.Code)
	}
}
