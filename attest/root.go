package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Root is a root certificate authority that the caller trusts. It is identified by its key
// alone, never by its name.
type Root struct {
	Name string // for people
	Key  *ecdsa.PublicKey
	// QuotingEnclaves are the quoting enclaves of platforms under this root, one for each
	// TEE. They are used for quotes that are verified without collateral: a platform
	// certifies the keys of other enclaves as well, which could sign anything. If there is
	// none for the TEE of a quote, Result.NotChecked has UncheckedQuotingEnclave.
	QuotingEnclaves map[quote.TEE]QuotingEnclave

	// certificate is a certificate of the root that signs itself as it should, which need not
	// be checked again; zero if none is known. Others with the same key are checked.
	certificate certificateID
}

// certificateID is the SHA-256 of a certificate in DER.
type certificateID [sha256.Size]byte

// QuotingEnclave identifies the quoting enclaves of one maker, in all their versions.
type QuotingEnclave struct {
	MRSigner  sgx.Measurement
	ISVProdID uint16
}

// intelRootKey is the public key of the certificate "Intel SGX Root CA" with
// serial number 22650CD65A9D3489F383B49552BF501B392706AC, valid 2018 to 2049,
// as an uncompressed point.
const intelRootKey = "04" +
	"0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5" +
	"67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394"

// intelRootCertificate is the SHA-256 of that certificate, as of 2018 to 2026.
const intelRootCertificate = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"

// The MRSIGNERs of Intel's quoting enclaves for SGX (QE3) and for TDX (TD QE), from the
// identities QE and TD_QE of Intel's service.
const (
	intelQE3Signer  = "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"
	intelTDQESigner = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
)

// IntelRoot returns Intel's root, which all genuine SGX and TDX platforms chain to.
func IntelRoot() Root {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), mustHex(intelRootKey))
	if err != nil {
		panic(err) // the constant is no point of the curve
	}
	return Root{
		Name: "Intel SGX Root CA",
		Key:  key,

		certificate: certificateID(mustHex(intelRootCertificate)),
		QuotingEnclaves: map[quote.TEE]QuotingEnclave{
			quote.SGX: {MRSigner: sgx.Measurement(mustHex(intelQE3Signer)), ISVProdID: 1},
			quote.TDX: {MRSigner: sgx.Measurement(mustHex(intelTDQESigner)), ISVProdID: 2},
		},
	}
}

// mustHex decodes a constant.
func mustHex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // the constant is not hex
	}
	return b
}

// ParseRoot reads a root from exactly one certificate in PEM, as quote.ParseCertificates reads
// it: text around the certificate is an error. The result has no QuotingEnclaves.
func ParseRoot(text []byte) (Root, error) {
	certificates, err := quote.ParseCertificates(text)
	if err == nil && len(certificates) != 1 {
		err = fmt.Errorf("%d certificates, want that of the root alone", len(certificates))
	}
	if err != nil {
		return Root{}, fmt.Errorf("attest: parse root: %w", err)
	}
	certificate := certificates[0]
	key, err := p256Key(certificate)
	if err != nil {
		return Root{}, fmt.Errorf("attest: parse root: %w", err)
	}
	root := Root{Name: certificate.Subject.CommonName, Key: key}
	if checkLink(certificate, certificate, 1) == nil {
		root.certificate = sha256.Sum256(certificate.Raw)
	}
	return root, nil
}
