package aesm

import (
	"encoding/binary"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// KeyIDSize is the length of a KeyID in bytes. Its first KeyIDBaseSize bytes identify
// the key.
const (
	KeyIDSize     = 256
	KeyIDBaseSize = 158
)

// Offsets in a KeyID.
const (
	offKeyIDMRSignerLen = 4
	offKeyIDMRSigner    = 6
	offKeyIDProdID      = 54
	offKeyIDAlgorithm   = 154
)

// KeyID identifies an attestation key: the quoting enclave that holds it and the
// algorithm of its signatures. It is an sgx_att_key_id_ext_t of Intel's DCAP headers,
// little-endian and packed, and opaque to applications. The zero KeyID identifies no
// key.
type KeyID [KeyIDSize]byte

// Algorithm is the signature scheme of an attestation key.
type Algorithm uint32

// The algorithms (sgx_ql_attestation_algorithm_id_t).
const (
	EPIDUnlinkable Algorithm = 0
	EPIDLinkable   Algorithm = 1
	ECDSAP256      Algorithm = 2
	ECDSAP384      Algorithm = 3
)

var algorithmNames = [...]string{
	EPIDUnlinkable: "EPID unlinkable",
	EPIDLinkable:   "EPID linkable",
	ECDSAP256:      "ECDSA-P256",
	ECDSAP384:      "ECDSA-P384",
}

// String returns the name of the algorithm, for example ECDSA-P256.
func (a Algorithm) String() string {
	if int64(a) < int64(len(algorithmNames)) {
		return algorithmNames[a]
	}
	return fmt.Sprintf("Algorithm(%d)", uint32(a))
}

// ECDSAKeyID returns the ID of the ECDSA-P256 key of the quoting enclave with product
// ID 1 and this signer.
func ECDSAKeyID(signer sgx.Measurement) KeyID {
	var k KeyID
	binary.LittleEndian.PutUint16(k[offKeyIDMRSignerLen:], uint16(len(signer)))
	copy(k[offKeyIDMRSigner:], signer[:])
	binary.LittleEndian.PutUint32(k[offKeyIDProdID:], 1)
	binary.LittleEndian.PutUint32(k[offKeyIDAlgorithm:], uint32(ECDSAP256))
	return k
}

// IntelQE3KeyID returns the ID of the ECDSA-P256 key of Intel's production quoting
// enclave (QE3). libsgx_dcap_ql and Gramine have it built in and never request the
// supported keys, so every service must accept it.
func IntelQE3KeyID() KeyID {
	return ECDSAKeyID(sgx.Measurement{
		0x8c, 0x4f, 0x57, 0x75, 0xd7, 0x96, 0x50, 0x3e, 0x96, 0x13, 0x7f, 0x77, 0xc6, 0x8a, 0x82, 0x9a,
		0x00, 0x56, 0xac, 0x8d, 0xed, 0x70, 0x14, 0x0b, 0x08, 0x1b, 0x09, 0x44, 0x90, 0xc5, 0x7b, 0xff,
	})
}

// Base returns the part of the ID that identifies the key: all but the EPID service
// provider ID and the key type at its end.
func (k KeyID) Base() [KeyIDBaseSize]byte { return [KeyIDBaseSize]byte(k[:]) }

// Algorithm returns the signature scheme of the key.
func (k KeyID) Algorithm() Algorithm {
	return Algorithm(binary.LittleEndian.Uint32(k[offKeyIDAlgorithm:]))
}

// MRSigner returns the signer of the quoting enclave.
func (k KeyID) MRSigner() sgx.Measurement {
	return sgx.Measurement(k[offKeyIDMRSigner:])
}

// ProdID returns the product ID of the quoting enclave.
func (k KeyID) ProdID() uint32 { return binary.LittleEndian.Uint32(k[offKeyIDProdID:]) }

// String describes the key: its algorithm and the quoting enclave's signer and product
// ID.
func (k KeyID) String() string {
	if k == (KeyID{}) {
		return "no key"
	}
	return fmt.Sprintf("%s of QE mrsigner %s prod %d", k.Algorithm(), k.MRSigner(), k.ProdID())
}
