package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/confcom/confcom/quote"
)

// Options say whom the caller trusts, and when.
type Options struct {
	// Roots are trusted besides no other; empty means Intel's alone.
	Roots []Root
	// At is the time at which the certificates must be valid.
	At time.Time
	// AllowDebug accepts enclaves and trust domains that a debugger can read.
	AllowDebug bool
}

// Verify checks the proof in q. The error says that there is nothing to judge:
// the quote carries no certificate chain, or a certificate cannot be read. Else
// the Result says whether the quote is trusted, and why.
func Verify(q *quote.Quote, options Options) (*Result, error) {
	if options.At.IsZero() {
		return nil, errors.New("attest: Options.At is not set: the certificates are valid at no time")
	}
	if len(options.Roots) == 0 {
		options.Roots = []Root{IntelRoot()}
	}
	chain, err := newPCKChain(q.Signature.CertificationData)
	if err != nil {
		return nil, err
	}

	r := &Result{NotChecked: []string{
		"revocation of the certificates",
		"identity of the quoting enclave",
		"TCB level of the platform",
	}}
	detail, err := chain.checkRoot(options.Roots)
	r.add("trusted root", detail, err)
	detail, err = chain.checkSignatures()
	r.add("PCK certificate chain", detail, err)
	detail, err = chain.checkValidity(options.At)
	r.add("certificates valid", detail, err)
	detail, err = checkQEReport(q, chain.leaf)
	r.add("QE report signature", detail, err)
	detail, err = checkBinding(q)
	r.add("attestation key binding", detail, err)
	detail, err = checkQuoteSignature(q)
	r.add("quote signature", detail, err)
	detail, err = checkDebug(q, options.AllowDebug)
	r.add("no debug mode", detail, err)
	return r, nil
}

// checkQEReport: the PCK signed the report of the quoting enclave.
func checkQEReport(q *quote.Quote, pck *certificate) (string, error) {
	key, err := pck.key()
	if err != nil {
		return "", err
	}
	report, _ := q.Signature.QEReport.MarshalBinary()
	if !verify(key, report, q.Signature.QEReportSignature) {
		return "", errors.New("the report of the quoting enclave is not signed by the PCK certificate's key")
	}
	return fmt.Sprintf("QE with MRSIGNER %s, security version %d", q.Signature.QEReport.MRSigner, q.Signature.QEReport.ISVSVN), nil
}

// checkBinding: the quoting enclave's report is about this attestation key. All
// 64 bytes of the report data are compared; the second half must be zero.
func checkBinding(q *quote.Quote) (string, error) {
	hash := sha256.New()
	hash.Write(q.Signature.AttestationKey[:])
	hash.Write(q.Signature.QEAuthData)
	var want [64]byte
	hash.Sum(want[:0])
	if !bytes.Equal(q.Signature.QEReport.ReportData[:], want[:]) {
		return "", errors.New("the report of the quoting enclave binds another attestation key")
	}
	return "the QE report binds the attestation key", nil
}

// checkQuoteSignature: the attestation key signed the quote.
func checkQuoteSignature(q *quote.Quote) (string, error) {
	key, err := q.Signature.AttestationKey.ECDSA()
	if err != nil {
		return "", err
	}
	signed, err := q.SignedBytes()
	if err != nil {
		return "", err
	}
	if !verify(key, signed, q.Signature.Signature) {
		return "", errors.New("the quote is not signed by its attestation key: it was changed")
	}
	if q.Enclave != nil {
		return fmt.Sprintf("enclave with MRENCLAVE %s", q.Enclave.MREnclave), nil
	}
	return fmt.Sprintf("trust domain with MRTD %s", q.TD.MRTD), nil
}

func checkDebug(q *quote.Quote, allowed bool) (string, error) {
	const tdDebug = 1 // bit 0 of TDATTRIBUTES
	debug := q.Enclave != nil && q.Enclave.Attributes.Debug() || q.TD != nil && q.TD.TDAttributes&tdDebug != 0
	switch {
	case !debug:
		return "a debugger cannot read it", nil
	case allowed:
		return "DEBUG: a debugger can read it; accepted as asked for", nil
	}
	return "", errors.New("DEBUG: a debugger can read and change everything in it")
}

// verify checks an ECDSA P-256 signature over the SHA-256 of data.
func verify(key *ecdsa.PublicKey, data []byte, s quote.Signature) bool {
	digest := sha256.Sum256(data)
	// Verify refuses numbers that are zero or not below the group's order.
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
}
