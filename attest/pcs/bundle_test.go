package pcs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func TestFamilyOf(t *testing.T) {
	i, err := attesttest.NewIssuer("node-1", issued)
	if err != nil {
		t.Fatal(err)
	}
	q, err := i.Quote(sgx.ReportBody{})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := FamilyOf(q); err != nil || f != family {
		t.Errorf("%+v, %v", f, err)
	}
	q.Signature.CertificationData = quote.CertificationData{Type: quote.PPIDClear}
	if _, err := FamilyOf(q); !errors.Is(err, quote.ErrUnsupported) {
		t.Errorf("a quote without certificates: %v", err)
	}
	if err := i.UsePlatformCA(); err != nil {
		t.Fatal(err)
	}
	if q, err = i.Quote(sgx.ReportBody{}); err != nil {
		t.Fatal(err)
	}
	if f, err := FamilyOf(q); err != nil || f != (Family{FMSPC: "005A1D000000", CA: PlatformCA}) {
		t.Errorf("with the Platform CA: %+v, %v", f, err)
	}
	for _, c := range []struct {
		fmspc string
		ca    CA
	}{{"x", ProcessorCA}, {"00", ProcessorCA}, {"005A1D000000", "root"}} {
		if _, err := NewFamily(c.fmspc, c.ca); err == nil {
			t.Errorf("NewFamily accepted %+v", c)
		}
	}
}

func TestBundle(t *testing.T) {
	collateral, err := attesttest.NewCollateral(issued)
	if err != nil {
		t.Fatal(err)
	}
	b := &Bundle{Collateral: *collateral, Root: string(simulation.RootPEM()), Fetched: issued}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseBundle(text)
	if err != nil || again.TCBInfo != b.TCBInfo || again.Root != b.Root || !again.Fetched.Equal(b.Fetched) {
		t.Errorf("%+v, %v", again, err)
	}
	if f, err := again.Family(); err != nil || f != family {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := ParseBundle([]byte("{}")); err == nil {
		t.Error("parsed an empty object")
	}
}

func FuzzBundle(f *testing.F) {
	collateral, err := attesttest.NewCollateral(issued)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(&Bundle{Collateral: *collateral, Fetched: issued})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(hex.EncodeToString(collateral.PCKCRL)))
	verifier := attest.NewVerifier(root(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		if der, err := crlDER(text); err == nil && len(der) == 0 {
			t.Error("an empty CRL")
		}
		b, err := ParseBundle(text)
		if err != nil {
			return
		}
		_, _ = b.Family()
		if _, err := verifier.Check(&b.Collateral, issued); err == nil && b.TCBInfo != collateral.TCBInfo {
			t.Error("accepted forged collateral")
		}
	})
}
