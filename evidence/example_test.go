package evidence_test

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// received returns text with a quote, as a program might log it. Its signatures are zero,
// which Parse does not notice.
func received() []byte {
	q := quote.Quote{
		Header:   quote.Header{Version: quote.Version3, KeyType: quote.KeyECDSAP256, TEE: quote.SGX, VendorID: quote.IntelVendorID()},
		BodyType: quote.BodySGX,
		Enclave:  &sgx.ReportBody{MREnclave: sgx.Measurement{4}},
		Signature: quote.SignatureData{
			CertificationData: quote.CertificationData{Type: quote.PPIDRSA3072, Data: make([]byte, 404)},
		},
	}
	data, err := q.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return []byte("2026-11-25T10:00:00.5Z 0x" + hex.EncodeToString(data) + "\n")
}

func ExampleParse() {
	e, err := evidence.Parse(received())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Forms)
	fmt.Println("MRENCLAVE", e.Parsed.Enclave.MREnclave)
	fmt.Println(e.Certification())
	// Output:
	// [log lines hexadecimal quote]
	// MRENCLAVE 0400000000000000000000000000000000000000000000000000000000000000
	// PPID encrypted with RSA-3072 (type 3): the PCK certificate must come from elsewhere
}

func ExampleNoQuoteError() {
	_, err := evidence.Parse([]byte("<!DOCTYPE html><title>Sign in</title>"))
	fmt.Println(err)
	var other *evidence.NoQuoteError
	if errors.As(err, &other) {
		fmt.Println("looks like", other.LooksLike)
	}
	// Output:
	// evidence: no quote found: this looks like an HTML page: did a proxy or a login page answer instead of the service?
	// looks like an HTML page
}
