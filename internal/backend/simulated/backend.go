package simulated

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// Backend is a simulated SGX platform. It is safe for concurrent use: all that
// it has is made by New.
type Backend struct {
	attestationKey *ecdsa.PrivateKey
	publicKeyID    [aesm.PublicKeyIDSize]byte
	// template is a quote without the parts that change: body and signature.
	template []byte
}

// Where the parts of a quote that change are, in bytes (sgx_quote3_t of Intel's
// sgx_quote_3.h): the body after a header of 48, and the signature after the
// length of what follows the body. Header and body are what is signed.
const (
	offBody      = 48
	signedSize   = offBody + sgx.ReportBodySize
	offSignature = signedSize + 4
)

// New returns the simulated platform of a node.
func New(node string) (*Backend, error) {
	i, err := NewIssuance(node, time.Time{})
	if err != nil {
		return nil, err
	}
	q, err := i.Quote(sgx.ReportBody{})
	if err != nil {
		return nil, err
	}
	data, err := q.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return &Backend{
		attestationKey: i.AttestationKey,
		publicKeyID:    [aesm.PublicKeyIDSize]byte(q.Signature.QEReport.ReportData[:]),
		template:       data,
	}, nil
}

// AttestationKey returns the key that signs this platform's quotes. It is no
// secret: anyone can derive it from the node's name.
func (b *Backend) AttestationKey() *ecdsa.PrivateKey { return b.attestationKey }

// quotingEnclave is the identity of the simulated QE.
func quotingEnclave() sgx.ReportBody {
	const (
		prodID = 1 // as Intel's QE
		svn    = 8
	)
	return sgx.ReportBody{
		CPUSVN:     simulation.DefaultCPU().SVN(),
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit | sgx.FlagProvisionKey, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte(label + "quoting enclave")),
		MRSigner:   sha256.Sum256([]byte(label + "signer of the quoting enclave")),
		ISVProdID:  prodID,
		ISVSVN:     svn,
	}
}

// target is the quoting enclave as the target of reports.
func target() sgx.TargetInfo {
	qe := quotingEnclave()
	return sgx.TargetInfo{MREnclave: qe.MREnclave, Attributes: qe.Attributes, MiscSelect: qe.MiscSelect}
}

// qeAuthData is what Intel's QE authenticates besides the key: 00 01 .. 1f.
func qeAuthData() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// InitQuote returns the quoting enclave's target info and the attestation key's
// ID.
func (b *Backend) InitQuote(context.Context) (aesm.Initialized, error) {
	return aesm.Initialized{TargetInfo: target(), PublicKeyID: b.publicKeyID}, nil
}

// QuoteSize returns the length in bytes of every quote of this platform.
func (b *Backend) QuoteSize(context.Context) (int, error) { return len(b.template), nil }

// Quote checks that report was made on a simulated processor for this
// platform's quoting enclave, and signs it. A report that was not is
// aesm.CodeInvalidReport.
func (b *Backend) Quote(_ context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	cpu, err := simulation.CPUOf(report)
	if err == nil {
		err = cpu.Verify(report, target())
	}
	if err != nil {
		return aesm.Quoted{}, fmt.Errorf("%w: %w", aesm.CodeInvalidReport, err)
	}

	data := slices.Clone(b.template)
	if _, err := report.Body.AppendBinary(data[:offBody]); err != nil {
		return aesm.Quoted{}, err
	}
	signature, err := sign(b.attestationKey, data[:signedSize])
	if err != nil {
		return aesm.Quoted{}, err
	}
	copy(data[offSignature:], signature[:])
	quoted := aesm.Quoted{Quote: data}
	if challenge != nil {
		if quoted.QEReport, err = answer(cpu, *challenge, data); err != nil {
			return aesm.Quoted{}, err
		}
	}
	return quoted, nil
}

// answer is the QE's report for the application enclave: that this QE made this
// quote, for this nonce. It is made on the processor that the application runs
// on, which derives the key to check it with from its own CPUSVN.
func answer(cpu simulation.CPU, c aesm.Challenge, data []byte) (sgx.Report, error) {
	hash := sha256.New()
	hash.Write(c.Nonce[:])
	hash.Write(data)
	body := quotingEnclave()
	hash.Sum(body.ReportData[:0])
	return cpu.Report(body, c.Target)
}

// Report returns a report of the quote helper itself, made on the simulated
// processor as an enclave of its own would.
func (b *Backend) Report(target sgx.TargetInfo) (sgx.Report, error) {
	return simulation.DefaultCPU().Report(sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte(label + "quote helper")),
		MRSigner:   sha256.Sum256([]byte(label + "signer of the quote helper")),
	}, target)
}
