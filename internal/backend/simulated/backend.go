package simulated

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// Kind is the kind of this backend.
const Kind = "simulated"

// Backend is the quote backend of a simulated SGX platform. It is safe for concurrent use: New
// makes everything that it has.
type Backend struct {
	qe             sgx.ReportBody
	attestationKey *ecdsa.PrivateKey
	initialized    aesm.Initialized
	// template is a quote. Report body and signature differ from quote to quote.
	template []byte
}

// New returns the simulated platform of a node.
func New(node string) (*Backend, error) {
	issuer, err := attesttest.NewIssuer(node, time.Time{})
	if err != nil {
		return nil, err
	}
	q, err := issuer.Quote(sgx.ReportBody{})
	if err != nil {
		return nil, err
	}
	template, err := q.MarshalBinary()
	if err != nil {
		return nil, err
	}
	chain, err := issuer.PCKChain()
	if err != nil {
		return nil, err
	}
	platform, err := attest.ParsePlatform(chain[0])
	if err != nil {
		return nil, err
	}
	return &Backend{
		qe:             issuer.QE,
		attestationKey: issuer.AttestationKey,
		initialized: aesm.Initialized{
			TargetInfo:  sgx.TargetInfo{MREnclave: issuer.QE.MREnclave, Attributes: issuer.QE.Attributes, MiscSelect: issuer.QE.MiscSelect},
			PublicKeyID: [aesm.PublicKeyIDSize]byte(q.Signature.QEReport.ReportData[:]),
			Backend:     aesm.Backend{Kind: Kind, Certified: true, Components: platform.Components, PCESVN: platform.PCESVN},
		},
		template: template,
	}, nil
}

// AttestationKey returns the key that signs the platform's quotes. It is not secret: anyone can
// derive it from the node's name.
func (b *Backend) AttestationKey() *ecdsa.PrivateKey { return b.attestationKey }

// InitQuote returns the quoting enclave's target info, the attestation key's ID, and what
// makes the quotes.
func (b *Backend) InitQuote(context.Context) (aesm.Initialized, error) { return b.initialized, nil }

// QuoteSize returns the length in bytes of every quote of the platform.
func (b *Backend) QuoteSize(context.Context) (int, error) { return len(b.template), nil }

// Quote signs a report that was made on a simulated processor for the platform's quoting
// enclave. For any other report the error wraps aesm.CodeInvalidReport.
func (b *Backend) Quote(_ context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	cpu, err := simulation.CPUOf(report)
	if err == nil {
		err = cpu.Verify(report, b.initialized.TargetInfo)
	}
	if err != nil {
		return aesm.Quoted{}, fmt.Errorf("%w: %w", aesm.CodeInvalidReport, err)
	}

	data := slices.Clone(b.template)
	if _, err := report.Body.AppendBinary(data[:quote.OffsetReportBody]); err != nil {
		return aesm.Quoted{}, err
	}
	signature, err := attesttest.Sign(b.attestationKey, data[:quote.OffsetSignatureDataLen])
	if err != nil {
		return aesm.Quoted{}, err
	}
	copy(data[quote.OffsetSignatureData:], signature[:])
	quoted := aesm.Quoted{Quote: data}
	if challenge != nil {
		if quoted.QEReport, err = b.answer(cpu, *challenge, data); err != nil {
			return aesm.Quoted{}, err
		}
	}
	return quoted, nil
}

// answer returns the QE's report for the application enclave, which says that this QE made this
// quote for this nonce. It is made on the processor that the application runs on: the key to
// check it is derived from that processor's CPUSVN.
func (b *Backend) answer(cpu simulation.CPU, c aesm.Challenge, data []byte) (sgx.Report, error) {
	hash := sha256.New()
	hash.Write(c.Nonce[:])
	hash.Write(data)
	body := b.qe
	hash.Sum(body.ReportData[:0])
	return cpu.Report(body, c.Target)
}

// Report returns a report on the quote helper itself, as if it were an enclave on the simulated
// processor.
func (b *Backend) Report(target sgx.TargetInfo) (sgx.Report, error) {
	return simulation.DefaultCPU().Report(sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte(attesttest.Label + "quote helper")),
		MRSigner:   sha256.Sum256([]byte(attesttest.Label + "signer of the quote helper")),
	}, target)
}
