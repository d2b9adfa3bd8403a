package dcaptest

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha3"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// identity is the identity of a simulated platform and its QE, which the stand-in
// reads from files.
type identity struct {
	target        sgx.TargetInfo
	key           *ecdsa.PrivateKey
	encryptedPPID []byte
	head          []byte // a quote up to its certification data

	cpuSVN [16]byte // the TCB in the PCK certificate
	pceSVN uint16
	chain  []byte // the PCK certificate chain in PEM
}

// Sizes in bytes, as in lib/abi.h and lib/qe3_logic.cc.
const (
	headSize          = 1052
	keySize           = 138 // a P-256 key as PKCS #8
	encryptedPPIDSize = 384
)

func newIdentity(node string) (*identity, error) {
	platform, err := simulated.New(node)
	if err != nil {
		return nil, err
	}
	ctx := context.Background() // nothing here blocks
	initialized, err := platform.InitQuote(ctx)
	if err != nil {
		return nil, err
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, initialized.TargetInfo)
	if err != nil {
		return nil, err
	}
	quoted, err := platform.Quote(ctx, report, nil)
	if err != nil {
		return nil, err
	}
	q, err := quote.Parse(quoted.Quote)
	if err != nil {
		return nil, err
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		return nil, err
	}
	p := &identity{
		target: initialized.TargetInfo,
		key:    platform.AttestationKey(),
		// It is never decrypted; it must only not be zero.
		encryptedPPID: sha3.SumSHAKE256([]byte("encrypted PPID of "+node), encryptedPPIDSize),
		head:          quoted.Quote[:headSize],
	}
	for _, c := range chain {
		p.chain = append(p.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	p.cpuSVN, p.pceSVN, err = certificates.TCB(chain[0])
	return p, err
}

// qe returns the content of the QE's file: struct QE of lib/qe3_logic.cc.
func (p *identity) qe() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("dcaptest: attestation key: %w", err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("dcaptest: attestation key of %d bytes, want %d", len(key), keySize)
	}
	target, err := p.target.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("dcaptest: %w", err)
	}
	return slices.Concat([]byte("simulated QE3 1\x00"), target, key, p.encryptedPPID, p.head), nil
}

// platform returns the content of the provider's file, with a PCE SVN that is lower by
// lowered.
func (p *identity) platform(lowered int) []byte {
	return fmt.Appendf(nil, "%x %d\n%s", p.cpuSVN, int(p.pceSVN)-lowered, p.chain)
}
