package ratls_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/attest/verify"
)

// vectors is the directory of genuine evidence beside the checkout.
const vectors = "../../../shared/vectors"

// Certificates that Gramine, Intel's SDK and rats-tls have made on hardware bind their keys. There is collateral for one family of platforms, as of one day.
func TestGenuine(t *testing.T) {
	dir := filepath.Join(vectors, "evidence")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NOT RUN: no genuine certificates: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(vectors, "combined", "sgx_00606a000000_2025-08-25.collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := attest.ParseCollateral(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file   string
		at     string
		format ratls.Format // if it binds its key
		want   error
		check  attest.CheckName // the first that fails
	}{
		{"gramine-cert.pem", "2025-08-25T12:00:00Z", ratls.FormatTagged, nil, ""},
		// The certificate was valid for an hour, long before the collateral.
		{"rats-tls-cert.pem", "2023-02-22T16:30:00Z", ratls.FormatTagged, attest.ErrCollateral, attest.CheckCollateralValid},
		{"rats-tls-cert.pem", "2025-08-25T12:00:00Z", "", ratls.ErrCertificate, ""},
		// The platform is of another family.
		{"intel-sgxsdk-cert.pem", "2025-08-25T12:00:00Z", ratls.FormatTagged, attest.ErrCollateral, attest.CheckPCKCRL},
		// Open Enclave tests its verifier with these: their signatures are damaged.
		{"oe-sgx_cert_ec_bad.der", "2020-08-25T12:00:00Z", "", ratls.ErrCertificate, ""},
		{"oe-sgx_cert_rsa_bad.der", "2020-08-25T12:00:00Z", "", ratls.ErrCertificate, ""},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		v := &ratls.Verifier{
			Evidence: &verify.Verifier{Source: collateral, Now: func() time.Time { return at }},
			Policy:   attest.Policy{AnyEnclave: true, AllowDebug: true, Statuses: []attest.TCBStatus{attest.OutOfDate}},
		}
		peer, err := v.Verify(t.Context(), genuine(t, filepath.Join(dir, c.file)))
		if !errors.Is(err, c.want) || (peer != nil) != (c.format != "") || peer != nil && peer.Format != c.format {
			t.Errorf("%s: %v, want %v", c.file, err, c.want)
		}
		if failed, ok := errors.AsType[*attest.CheckError](err); ok && failed.Check != c.check {
			t.Errorf("%s: check %q failed, want %q", c.file, failed.Check, c.check)
		}
	}
}

func genuine(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(file) == ".pem" {
		block, _ := pem.Decode(data)
		data = block.Bytes
	}
	return parse(t, data)
}
