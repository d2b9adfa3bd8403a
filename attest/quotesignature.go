package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// checkKeyBinding checks that the QE report binds the attestation key. All 64 bytes of its
// report data are compared: the second half must be zero.
func checkKeyBinding(q *quote.Quote) Check {
	hash := sha256.New()
	hash.Write(q.Signature.AttestationKey[:])
	hash.Write(q.Signature.QEAuthData)
	var want sgx.ReportData
	hash.Sum(want[:0])
	var err error
	if !bytes.Equal(q.Signature.QEReport.ReportData[:], want[:]) {
		err = errors.New("the QE report binds another attestation key")
	}
	return newCheck(CheckKeyBinding, "the QE report binds the attestation key", err)
}

// checkQuoteSignature checks that the attestation key signed the quote.
func checkQuoteSignature(q *quote.Quote) Check {
	detail, err := quoteSignature(q)
	return newCheck(CheckQuoteSignature, detail, err)
}

func quoteSignature(q *quote.Quote) (detail string, err error) {
	key, err := q.Signature.AttestationKey.ECDSA()
	if err != nil {
		return "", err
	}
	signed, err := q.SignedBytes()
	if err != nil {
		return "", err
	}
	if !verifySignature(key, signed, q.Signature.Signature) {
		return "", errors.New("signature verification failed with the attestation key")
	}
	if q.Enclave != nil {
		return fmt.Sprintf("enclave with MRENCLAVE %s", q.Enclave.MREnclave), nil
	}
	return fmt.Sprintf("trust domain with MRTD %s", q.TD.MRTD), nil
}

// checkQEVendor checks that the quoting enclave is Intel's. What a quote of another vendor
// means is unknown.
func checkQEVendor(vendor quote.VendorID) Check {
	var err error
	if vendor != quote.IntelVendorID() {
		err = fmt.Errorf("vendor %s, want Intel (%s)", vendor, quote.IntelVendorID())
	}
	return newCheck(CheckQEVendor, "Intel", err)
}

// verifySignature reports whether a signature is valid: ECDSA P-256 over the SHA-256 of
// data.
func verifySignature(key *ecdsa.PublicKey, data []byte, s quote.Signature) bool {
	digest := sha256.Sum256(data)
	// ecdsa.Verify refuses numbers that are zero or not below the group's order.
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
}
