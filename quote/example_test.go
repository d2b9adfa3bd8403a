package quote_test

import (
	"errors"
	"fmt"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// received returns the bytes of a quote, as an AESM daemon returns them. Its signatures
// are zero, which Parse does not notice.
func received() []byte {
	q := quote.Quote{
		Header:   quote.Header{Version: quote.Version3, KeyType: quote.KeyECDSAP256, TEE: quote.SGX, VendorID: quote.IntelVendorID()},
		BodyType: quote.BodySGX,
		Enclave:  &sgx.ReportBody{MREnclave: sgx.Measurement{4}},
		Signature: quote.SignatureData{
			CertificationData: quote.CertificationData{Type: quote.PPIDClear, Data: make([]byte, 36)},
		},
	}
	data, err := q.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return data
}

func ExampleParse() {
	data := received()
	q, err := quote.Parse(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(q.Header.TEE, "quote version", q.Header.Version, "signed with", q.Header.KeyType)
	fmt.Println("MRENCLAVE", q.Enclave.MREnclave)

	_, err = quote.Parse(data[:100])
	fmt.Println(err)
	fmt.Println("truncated:", errors.Is(err, quote.ErrTruncated))
	// Output:
	// SGX quote version 3 signed with ECDSA-P256
	// MRENCLAVE 0400000000000000000000000000000000000000000000000000000000000000
	// quote: report body at offset 48: data ends here: 52 bytes left, want 384
	// truncated: true
}
