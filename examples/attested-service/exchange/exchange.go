// Package exchange is what the service and its relying party send each other, and how a
// secret is encrypted for the key that the service's quote binds.
package exchange

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/json"
	"fmt"
	"io"

	"github.com/confcom/confcom/attest/challenge"
)

// The paths of the service.
const (
	EvidencePath = "/v1/evidence"
	SecretPath   = "/v1/secret"
)

// Challenge asks for evidence that is bound to a nonce.
type Challenge struct {
	Nonce challenge.Nonce `json:"nonce"`
}

// Evidence is the answer: a quote whose report data is challenge.ReportData(nonce, Key).
type Evidence struct {
	Key      []byte `json:"key"` // the public key of the enclave
	Evidence []byte `json:"evidence"`
}

// Secret is a secret that is encrypted for a key of an enclave.
type Secret struct {
	Encapsulated []byte `json:"encapsulated"`
	Ciphertext   []byte `json:"ciphertext"`
}

// Receipt proves that the holder of the key has decrypted a secret.
type Receipt struct {
	Receipt []byte `json:"receipt"`
}

// The cipher suite of HPKE (RFC 9180), and what separates its keys from those of other
// protocols.
const (
	info        = "confcom attested-service secret v1"
	receiptInfo = "receipt"
	receiptSize = 32
)

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// NewKey returns a new key pair. Its private key never leaves the enclave.
func NewKey() (hpke.PrivateKey, error) { return kem().GenerateKey() }

// Seal encrypts a secret for the public key of an enclave. It also returns the receipt that
// only the holder of the private key can make.
func Seal(key, secret []byte) (Secret, Receipt, error) {
	public, err := kem().NewPublicKey(key)
	if err != nil {
		return Secret{}, Receipt{}, fmt.Errorf("read the enclave's key: %w", err)
	}
	encapsulated, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(info))
	if err != nil {
		return Secret{}, Receipt{}, fmt.Errorf("encrypt the secret: %w", err)
	}
	ciphertext, err := sender.Seal(nil, secret)
	if err != nil {
		return Secret{}, Receipt{}, fmt.Errorf("encrypt the secret: %w", err)
	}
	receipt, err := sender.Export(receiptInfo, receiptSize)
	if err != nil {
		return Secret{}, Receipt{}, fmt.Errorf("encrypt the secret: %w", err)
	}
	return Secret{encapsulated, ciphertext}, Receipt{receipt}, nil
}

// Open decrypts a secret, and returns it with its receipt.
func Open(key hpke.PrivateKey, sealed Secret) ([]byte, Receipt, error) {
	recipient, err := hpke.NewRecipient(sealed.Encapsulated, key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(info))
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("decrypt the secret: %w", err)
	}
	secret, err := recipient.Open(nil, sealed.Ciphertext)
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("decrypt the secret: %w", err)
	}
	receipt, err := recipient.Export(receiptInfo, receiptSize)
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("decrypt the secret: %w", err)
	}
	return secret, Receipt{receipt}, nil
}

// maxBody is more than the largest message needs: a quote has 4 to 8 KiB.
const maxBody = 64 << 10

// Read reads a message, which is JSON.
func Read(from io.Reader, message any) error {
	data, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	switch {
	case err != nil:
		return err
	case len(data) > maxBody:
		return fmt.Errorf("the message is larger than %d bytes", maxBody)
	}
	return json.Unmarshal(data, message)
}
