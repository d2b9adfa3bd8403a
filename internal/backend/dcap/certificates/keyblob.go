package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// KeyCertification is how the platform has certified the attestation key: the report of the
// quoting enclave that names it, signed by the platform's certification key (PCK).
type KeyCertification struct {
	QEReport  [sgx.ReportBodySize]byte
	Signature quote.Signature
}

// The blob in which Intel's quoting enclave seals its attestation key: sgx_sealed_data_t of
// sgx_tseal.h, whose text that is only authenticated is a ref_plaintext_ecdsa_data_sdk_t of
// ecdsa_quote.h. Offsets and sizes are in bytes, integers are little-endian.
const (
	blobTextOffset = 512 // the offset of that text in the payload
	blobPayload    = 560

	textSize          = 1223
	textType          = 0 // SGX_QL_SEAL_ECDSA_KEY_BLOB is 0
	textVersion       = 1 // SGX_QL_ECDSA_KEY_BLOB_VERSION_0 is 0
	textQEReport      = 561
	textSignature     = 993
	textKey           = 1057
	textKeyID         = 1121
	textAuthDataSize  = 1171
	textAuthData      = 1175
	authDataSize      = 32
	reportDataOffset  = 320 // in a report
	attestationKeyLen = 64
)

// ParseKeyBlob reads the blob that the quoting library stores once the platform has
// certified its attestation key. It returns an error for one of another form.
func ParseKeyBlob(blob []byte) (k KeyCertification, err error) {
	if len(blob) < blobPayload+textSize {
		return k, fmt.Errorf("the key blob has %d bytes, want at least %d", len(blob), blobPayload+textSize)
	}
	payload := blob[blobPayload:]
	offset := binary.LittleEndian.Uint32(blob[blobTextOffset:])
	if uint64(offset) != uint64(len(payload)-textSize) {
		return k, fmt.Errorf("the text of the key blob begins at %d, want %d", offset, len(payload)-textSize)
	}
	text := payload[offset:]
	size := binary.LittleEndian.Uint32(text[textAuthDataSize:])
	if text[textType] != 0 || text[textVersion] != 0 || size != authDataSize {
		return k, fmt.Errorf("a key blob of type %d, version %d, with %d bytes of authentication data, want 0, 0, %d", text[textType], text[textVersion], size, authDataSize)
	}
	copy(k.QEReport[:], text[textQEReport:])
	copy(k.Signature[:], text[textSignature:])
	// Where these agree, the fields are where they are expected.
	id := sha256.Sum256(append(bytes.Clone(text[textKey:textKey+attestationKeyLen]), text[textAuthData:textAuthData+authDataSize]...))
	if !bytes.Equal(id[:], text[textKeyID:textKeyID+len(id)]) || !bytes.Equal(id[:], k.QEReport[reportDataOffset:reportDataOffset+len(id)]) {
		return k, errors.New("the key blob does not have the hash of its key")
	}
	return k, nil
}

// CheckKey checks that the PCK certificate is of the key that has certified the attestation
// key. With another one, no verifier accepts a quote.
func (d Data) CheckKey(k KeyCertification) error {
	chain, err := parseChain(d.Chain)
	if err != nil {
		return err
	}
	key, isECDSA := chain[0].PublicKey.(*ecdsa.PublicKey)
	digest := sha256.Sum256(k.QEReport[:])
	if !isECDSA || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(k.Signature[:32]), new(big.Int).SetBytes(k.Signature[32:])) {
		return errors.New("the PCK certificate has another key than this platform has signed with: it is of another platform, or from before a factory reset of SGX")
	}
	return nil
}
