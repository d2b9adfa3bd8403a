package attest

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/confcom/confcom/quote"
)

// checked is collateral, and what was found of it that does not change with time,
// nor with the leaf of the chain.
type checked struct {
	rootCRL, pckCRL *x509.RevocationList
	signers         []*x509.Certificate // of the TCB info and the identity
	// tcb and qe are nil where their signatures are not good.
	tcb *tcbInfo
	qe  *qeIdentity

	checks []Check
}

// check makes the checks of collateral below the CAs of a chain that do not depend on
// the time, and tells whether all of them have passed.
func (k *checked) check(c *Collateral, chain *pckChain) bool {
	var found Result
	var err error
	k.rootCRL, err = parseCRL(c.RootCRL, chain.root)
	found.add("root CRL", describeCRL(k.rootCRL), err)
	k.pckCRL, err = parseCRL(c.PCKCRL, chain.intermediate)
	found.add("PCK CRL", describeCRL(k.pckCRL), err)

	signer, err := tcbSigner(c.TCBInfoIssuerChain, chain.root)
	if err == nil {
		k.signers = append(k.signers, signer)
		k.tcb, err = signedTCBInfo(c, signer)
	}
	found.add("TCB info", describe(k.tcb != nil, func() string {
		return fmt.Sprintf("signed by %q, evaluation data number %d, FMSPC %X", signer.Subject.CommonName, *k.tcb.TCBEvaluationDataNumber, k.tcb.FMSPC)
	}), err)

	// It is the same signer as a rule, who was checked already.
	if err = nil; c.QEIdentityIssuerChain != c.TCBInfoIssuerChain || signer == nil {
		if signer, err = tcbSigner(c.QEIdentityIssuerChain, chain.root); err == nil {
			k.signers = append(k.signers, signer)
		}
	}
	if err == nil {
		k.qe, err = signedQEIdentity(c, signer)
	}
	found.add("QE identity", describe(k.qe != nil, func() string {
		return fmt.Sprintf("signed by %q, evaluation data number %d", signer.Subject.CommonName, *k.qe.TCBEvaluationDataNumber)
	}), err)

	k.checks = found.Checks
	return found.passed()
}

// describe is what text returns, if there is something to describe.
func describe(there bool, text func() string) string {
	if !there {
		return ""
	}
	return text()
}

func describeCRL(list *x509.RevocationList) string {
	return describe(list != nil, func() string {
		return fmt.Sprintf("of %q, %d certificates are revoked", list.Issuer.CommonName, len(list.RevokedCertificateEntries))
	})
}

// checkRevocation: nobody in the proof is in a list. Without a list it fails.
func (k *checked) checkRevocation(chain *pckChain) error {
	if k.rootCRL == nil || k.pckCRL == nil {
		return errors.New("without the lists nobody can tell")
	}
	// What is kept is shared: it must not be appended to.
	if err := checkRevoked(k.rootCRL, slices.Concat(k.signers, []*x509.Certificate{chain.intermediate})...); err != nil {
		return err
	}
	return checkRevoked(k.pckCRL, chain.leaf)
}

// tcbSigner returns the signer of TCB info and identities from his chain in PEM, and
// checks that the root has appointed him.
func tcbSigner(chain string, root *x509.Certificate) (*x509.Certificate, error) {
	certificates, err := quote.ParseCertificates([]byte(chain))
	if err != nil {
		return nil, fmt.Errorf("its issuer chain: %w", err)
	}
	if n := len(certificates); n != 1 && n != 2 {
		return nil, fmt.Errorf("its issuer chain has %d certificates, not that of the signer and of the root", n)
	}
	if len(certificates) == 2 && !bytes.Equal(certificates[1].Raw, root.Raw) {
		// It may be another certificate of the same root.
		head := certificates[1]
		if !bytes.Equal(head.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) {
			return nil, fmt.Errorf("its issuer chain ends in %q, which is not the root of the PCK certificate", head.Subject.CommonName)
		}
		if err := checkLink(head, head, 1); err != nil {
			return nil, fmt.Errorf("its issuer chain: %w", err)
		}
	}
	signer := certificates[0]
	// The root appoints others, too: CAs, and who knows whom.
	if !strings.Contains(signer.Subject.CommonName, "SGX TCB Signing") || signer.IsCA || signer.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, fmt.Errorf("%q is not the certificate of a signer of TCB info", signer.Subject.CommonName)
	}
	if err := checkLink(signer, root, 0); err != nil {
		return nil, err
	}
	return signer, nil
}

func signedTCBInfo(c *Collateral, signer *x509.Certificate) (*tcbInfo, error) {
	if err := checkSignature(c.TCBInfo, c.TCBInfoSignature, signer); err != nil {
		return nil, err
	}
	return parseTCBInfo([]byte(c.TCBInfo))
}

func signedQEIdentity(c *Collateral, signer *x509.Certificate) (*qeIdentity, error) {
	if err := checkSignature(c.QEIdentity, c.QEIdentitySignature, signer); err != nil {
		return nil, err
	}
	return parseQEIdentity([]byte(c.QEIdentity))
}

func checkSignature(text string, signature quote.Signature, signer *x509.Certificate) error {
	key, err := p256Key(signer)
	if err != nil {
		return err
	}
	if !verify(key, []byte(text), signature) {
		return fmt.Errorf("it is not signed by %q: it was changed", signer.Subject.CommonName)
	}
	return nil
}

// The names of what is signed, for people.
const (
	theTCBInfo    = "the TCB info"
	theQEIdentity = "the QE identity"
)

// signed are the periods of the TCB info and the identity.
func (k *checked) signed() (periods []period) {
	if k.tcb != nil {
		periods = append(periods, period{theTCBInfo, k.tcb.IssueDate, k.tcb.NextUpdate})
	}
	if k.qe != nil {
		periods = append(periods, period{theQEIdentity, k.qe.IssueDate, k.qe.NextUpdate})
	}
	return periods
}

// lists are the periods of the revocation lists.
func (k *checked) lists() (periods []period) {
	if k.rootCRL != nil {
		periods = append(periods, period{"the root CRL", k.rootCRL.ThisUpdate, k.rootCRL.NextUpdate})
	}
	if k.pckCRL != nil {
		periods = append(periods, period{"the PCK CRL", k.pckCRL.ThisUpdate, k.pckCRL.NextUpdate})
	}
	return periods
}

// periods are those of all that is there.
func (k *checked) periods() []period {
	periods := append(k.signed(), k.lists()...)
	for _, s := range k.signers {
		periods = append(periods, periodOf(s))
	}
	return periods
}
