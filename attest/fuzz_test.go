package attest

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// TCB info and QE identity are parsed after their signatures have been verified; everything
// else is untrusted input. None of it may panic.

func FuzzTCBInfo(f *testing.F) {
	f.Add([]byte(`{"id":"SGX","version":3,"issueDate":"2026-06-01T00:00:00Z","nextUpdate":"2026-07-01T00:00:00Z","fmspc":"005A1D000000","pceId":"0000","tcbType":0,"tcbEvaluationDataNumber":17,` +
		`"tcbLevels":[{"tcb":{"sgxtcbcomponents":[{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1}],` +
		`"pcesvn":13},"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"UpToDate"}]}`))
	f.Add([]byte(`{"id":"TDX","version":3,"issueDate":"2026-06-01T00:00:00Z","nextUpdate":"2026-07-01T00:00:00Z","fmspc":"005A1D000000","pceId":"0000","tcbType":0,"tcbEvaluationDataNumber":17,` +
		`"tdxModule":{"mrsigner":"` + strings.Repeat("00", 48) + `","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF"},` +
		`"tdxModuleIdentities":[{"id":"TDX_FF","mrsigner":"` + strings.Repeat("00", 48) + `","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF",` +
		`"tcbLevels":[{"tcb":{"isvsvn":5},"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"UpToDate"}]}],` +
		`"tcbLevels":[{"tcb":{"sgxtcbcomponents":[` + strings.Repeat(`{"svn":1},`, 15) + `{"svn":1}],"pcesvn":13,"tdxtcbcomponents":[` + strings.Repeat(`{"svn":1},`, 15) + `{"svn":1}]},` +
		`"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"UpToDate"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := parseTCBInfo(text)
		if err != nil {
			return
		}
		highest := &Platform{PCESVN: 0xffff}
		for i := range highest.Components {
			highest.Components[i] = 0xff
		}
		var td *tdx.TCBSVN
		if info.tee == quote.TDX {
			td = new(tdx.TCBSVN)
			for i := range td {
				td[i] = 0xff
			}
			if identity, err := info.identity(0xff); err == nil {
				if level, err := info.moduleLevel(*td); err != nil && uint16(0xff) >= identity.Levels[len(identity.Levels)-1].isvSVN {
					t.Errorf("the highest possible TDX module reaches %+v, %v", level, err)
				}
			}
			k := checkedCollateral{tcbInfo: info}
			if k.tdxModule(&tdx.ReportBody{TEETCBSVN: *td, SEAMAttributes: 1}) == nil {
				t.Error("accepted a TDX module with attributes")
			}
		}
		if level, err := info.level(highest, td); err != nil || level != &info.Levels[0] {
			t.Errorf("the highest possible platform reaches %+v, %v", level, err)
		}
	})
}

func FuzzQEIdentity(f *testing.F) {
	f.Add([]byte(`{"id":"QE","version":2,"issueDate":"2026-06-01T00:00:00Z","nextUpdate":"2026-07-01T00:00:00Z","tcbEvaluationDataNumber":17,"miscselect":"00000000","miscselectMask":"FFFFFFFF",` +
		`"attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"8C4F5775D796503E96137F77C68A829A0056AC8DED70140B081B094490C57BFF",` +
		`"isvprodid":1,"tcbLevels":[{"tcb":{"isvsvn":8},"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"UpToDate"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, err := parseQEIdentity(text); err == nil {
			if level := reachedLevel(id.Levels, 0xffff); level != &id.Levels[0] {
				t.Errorf("the highest possible quoting enclave reaches %+v", level)
			}
		}
	})
}

func FuzzPlatform(f *testing.F) {
	f.Add([]byte{0x30, 0})
	for _, extension := range genuineExtensions(f) {
		f.Add(extension)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := parseSGXExtension(der)
		if err == nil && (len(p.PPID) != 16 || len(p.FMSPC) != 6 || len(p.PCEID) != 2 || len(p.CPUSVN) != 16 || p.Type == "") {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzCRL(f *testing.F) {
	f.Add([]byte{0x30, 0})
	lists, _ := filepath.Glob("../../shared/vectors/automata/*crl.der")
	for _, name := range lists {
		der, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	issuer := new(x509.Certificate)
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := parseCRL(der, issuer); err == nil {
			t.Error("parsed a CRL of an empty issuer")
		}
		if crl, err := x509.ParseRevocationList(der); err == nil {
			_ = checkCRLExtensions(crl) // what an issuer may have signed
		}
	})
}

// genuineExtensions returns the SGX extensions of the PCK certificates in genuine quotes, if
// there are any beside the checkout.
func genuineExtensions(f *testing.F) (all [][]byte) {
	for _, name := range []string{"phala/sample__sgx_quote", "automata/quotev3.decoded.bin"} {
		data, err := os.ReadFile(filepath.Join("../../shared/vectors", name))
		if err != nil {
			continue
		}
		q, _, err := quote.ParsePrefix(data)
		if err != nil {
			f.Fatal(err)
		}
		chain, err := q.Signature.CertificationData.Certificates()
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range chain[0].Extensions {
			if e.Id.Equal(sgxExtension()) {
				all = append(all, e.Value)
			}
		}
	}
	return all
}

// No collateral makes a quote trusted whose root is not.
func FuzzCollateral(f *testing.F) {
	f.Add([]byte(`{"root_ca_crl": "00", "pck_crl": "00", "tcb_info": "{}", "tcb_info_issuer_chain": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "qe_identity": "{}", "qe_identity_issuer_chain": "x"}`))
	empty := &x509.Certificate{RawSubjectPublicKeyInfo: []byte{0}}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCollateral(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseCollateral(again); err != nil {
			t.Error(err)
		}
		chain := &pckChain{authorities: &authorities{intermediate: empty, root: empty}, leaf: empty}
		k := newMemory().collateral(c, chain.authorities)
		if k.passed() {
			t.Error("accepted collateral that nobody signed")
		}
		r := new(Result)
		r.add(k.checks...)
		r.add(k.checkRevocation(chain))
		r.addCollateralPeriods(k, Policy{MaxCollateralAge: time.Hour}, time.Now())
		tcb, err := k.tcbLevel(new(quote.Quote), new(Platform))
		r.add(Policy{}.appraiseTCB(tcb, err)...)
		if r.passed() || err == nil {
			t.Error("accepted an empty platform")
		}
	})
}

// A policy that is accepted is written and read as the same one.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"mrSigners": ["` + strings.Repeat("01", 32) + `"], "isvProdId": 1, "maxCollateralAge": "720h", "advisories": []}`))
	f.Add([]byte(`{"mrEnclaves": ["` + strings.Repeat("01", 32) + `"], "attributes": {"value": "0x80", "mask": "0x90"}, "minTcbDate": "2025-01-31", "configIds": ["` + strings.Repeat("02", 64) + `"], "ppids": ["` + strings.Repeat("03", 16) + `"]}`))
	f.Add([]byte(`{"anyEnclave": true, "trustDomain": {"mrTds": ["` + strings.Repeat("01", 48) + `"], "rtmr1": ["` + strings.Repeat("02", 48) + `"], "minTeeTcbSvn": "` + strings.Repeat("03", 16) + `", "allowedXfam": "0xe7", "allowSeptVe": true}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePolicy(written)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%s is written as %s and read as %+v: %v", text, written, again, err)
		}
	})
}
