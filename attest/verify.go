package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Options say whom the caller trusts, and when.
type Options struct {
	// Roots are trusted besides no other: IntelRoot for genuine platforms.
	Roots []Root
	// At is the time at which the certificates must be valid.
	At time.Time
	// AllowDebug accepts enclaves and trust domains that a debugger can read.
	AllowDebug bool
}

// Verify checks the proof in q. The error is nil just when the quote is trusted.
// It wraps ErrNotTrusted where the quote was judged, and the Result says why.
// Without a Result there was nothing to judge: the quote carries no certificate
// chain, or a certificate cannot be read, or the options are incomplete.
func Verify(q *quote.Quote, options Options) (*Result, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	chain, err := newPCKChain(q.Signature.CertificationData)
	if err != nil {
		return nil, err
	}

	r := &Result{}
	root, err := chain.checkRoot(options.Roots)
	r.Root = root.Name
	r.add("trusted root", root.Name, err)
	detail, err := chain.checkSignatures()
	r.add("PCK certificate chain", detail, err)
	detail, err = chain.checkValidity(options.At)
	r.add("certificates valid", detail, err)
	detail, err = checkQEReport(q, chain.leaf)
	r.add("QE report signature", detail, err)
	qe, known := root.QuotingEnclaves[q.Header.TEE]
	if known {
		detail, err = checkQuotingEnclave(q, qe)
		r.add("quoting enclave", detail, err)
	}
	detail, err = checkBinding(q)
	r.add("attestation key binding", detail, err)
	detail, err = checkQuoteSignature(q)
	r.add("quote signature", detail, err)
	detail, err = checkDebug(q, options.AllowDebug)
	r.add("debug mode", detail, err)

	r.Trusted = !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Passed })
	r.NotChecked = notChecked(q, known)
	return r, r.Err()
}

func (o Options) check() error {
	if o.At.IsZero() {
		return errors.New("attest: Options.At is not set: the certificates are valid at no time")
	}
	if len(o.Roots) == 0 {
		return errors.New("attest: Options.Roots is empty: nobody is trusted; IntelRoot is the root of genuine platforms")
	}
	for _, root := range o.Roots {
		if root.Key == nil {
			return fmt.Errorf("attest: Options.Roots: %q has no key", root.Name)
		}
	}
	return nil
}

// notChecked lists what is left to the caller, or to collateral.
func notChecked(q *quote.Quote, qeKnown bool) []string {
	var list []string
	if !qeKnown {
		list = append(list, "identity of the quoting enclave: this root tells none")
	}
	list = append(list,
		"revocation of the certificates",
		"security versions: TCB level of the platform, version of the quoting enclave",
	)
	if q.TD != nil {
		list = append(list, "identity of the TDX module")
	}
	return append(list, "which enclave it is, and whether its report data is what you expect")
}

// checkQEReport: the PCK signed the report of the quoting enclave.
func checkQEReport(q *quote.Quote, pck *x509.Certificate) (string, error) {
	key, err := p256Key(pck)
	if err != nil {
		return "", err
	}
	report, _ := q.Signature.QEReport.MarshalBinary()
	if !verify(key, report, q.Signature.QEReportSignature) {
		return "", errors.New("the report of the quoting enclave is not signed by the PCK certificate's key")
	}
	return fmt.Sprintf("QE with MRSIGNER %s, security version %d", q.Signature.QEReport.MRSigner, q.Signature.QEReport.ISVSVN), nil
}

// checkQuotingEnclave: the report is of the maker's quoting enclave, initialized
// and not in debug mode. The masks are those of Intel's identity of it: MODE64BIT
// and XFRM may differ.
func checkQuotingEnclave(q *quote.Quote, want QuotingEnclave) (string, error) {
	report := q.Signature.QEReport
	if report.MRSigner != want.MRSigner || report.ISVProdID != want.ISVProdID {
		return "", fmt.Errorf("an enclave with MRSIGNER %s and product %d vouches for the quote: it is not the quoting enclave (%s, %d)",
			report.MRSigner, report.ISVProdID, want.MRSigner, want.ISVProdID)
	}
	if flags := report.Attributes.Flags &^ sgx.FlagMode64Bit; flags != sgx.FlagInit|sgx.FlagProvisionKey || report.MiscSelect != 0 {
		return "", fmt.Errorf("the quoting enclave has attributes %s and MISCSELECT %#x", report.Attributes, report.MiscSelect)
	}
	return fmt.Sprintf("signer and product %d as they should be", report.ISVProdID), nil
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
	const tdUnderDebug = 0xff // TUD, bits 7:0 of TDATTRIBUTES: each opens the TD
	debug := q.Enclave != nil && q.Enclave.Attributes.Debug() || q.TD != nil && q.TD.TDAttributes&tdUnderDebug != 0
	switch {
	case !debug:
		return "off: a debugger cannot read it", nil
	case allowed:
		return "DEBUG: a debugger can read and change everything in it; accepted as asked for", nil
	}
	return "", errors.New("DEBUG: a debugger can read and change everything in it")
}

// verify checks an ECDSA P-256 signature over the SHA-256 of data.
func verify(key *ecdsa.PublicKey, data []byte, s quote.Signature) bool {
	digest := sha256.Sum256(data)
	// Verify refuses numbers that are zero or not below the group's order.
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
}
