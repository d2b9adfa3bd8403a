package simulated

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Issuance is all that is issued for a simulated platform and its verifiers, before
// it is signed. Whoever tests a verifier changes something in it, and so misissues.
type Issuance struct {
	Root      Authority
	PCKCA     Authority // issues PCK certificates
	TCBSigner Authority // signs TCB info and QE identity
	PCK       Authority // of the node; its template gets the Extension
	Extension Extension

	RootCRL, PCKCRL *x509.RevocationList
	TCBInfo         TCBInfo
	QEIdentity      EnclaveIdentity

	// QE is the report of the quoting enclave, but for its binding of the attestation
	// key.
	QE             sgx.ReportBody
	AttestationKey *ecdsa.PrivateKey
	// Version is that of quotes: 3, as of all SGX platforms so far, or 4 or 5.
	Version quote.Version
	node    string
}

// NewIssuance returns what is issued on the day of now (UTC) for a node. All nodes
// have the same authorities and collateral.
func NewIssuance(node string, now time.Time) (*Issuance, error) {
	issued := now.UTC().Truncate(24 * time.Hour)
	list := func(valid time.Duration) *x509.RevocationList {
		return &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: issued, NextUpdate: issued.Add(valid)}
	}
	i := &Issuance{
		Extension: Extension{
			PPID: derive(16, "PPID of "+node), Components: tcbComponents(), PCESVN: pceSVN, PCEID: []byte(pceID), FMSPC: []byte(fmspc),
		},
		RootCRL: list(rootCRLValidity), PCKCRL: list(collateralValidity),
		TCBInfo: newTCBInfo(issued), QEIdentity: newQEIdentity(issued),
		QE: quotingEnclave(), Version: quote.Version3, node: node,
	}
	const ca, signer = x509.KeyUsageCertSign | x509.KeyUsageCRLSign, x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	for _, a := range []struct {
		into       *Authority
		name, who  string
		usage      x509.KeyUsage
		pathLength int
	}{
		{&i.Root, rootName, "key of " + rootName, ca, 1},
		{&i.PCKCA, pckCAName, "key of " + pckCAName, ca, 0},
		{&i.TCBSigner, tcbName, "key of " + tcbName, signer, noCA},
		{&i.PCK, pckName, "PCK of " + node, signer, noCA},
	} {
		var err error
		if *a.into, err = newAuthority(a.name, a.who, a.usage, a.pathLength); err != nil {
			return nil, err
		}
	}
	var err error
	i.AttestationKey, err = deriveKey("attestation key of " + node)
	return i, err
}

// Collateral signs what verifiers need.
func (i *Issuance) Collateral() (*attest.Collateral, error) {
	root, err := i.Root.Issue(i.Root)
	if err != nil {
		return nil, err
	}
	ca, err := i.Root.Issue(i.PCKCA)
	if err != nil {
		return nil, err
	}
	signer, err := i.Root.Issue(i.TCBSigner)
	if err != nil {
		return nil, err
	}
	c := &attest.Collateral{
		PCKCRLIssuerChain:     encodePEM(ca, root),
		TCBInfoIssuerChain:    encodePEM(signer, root),
		QEIdentityIssuerChain: encodePEM(signer, root),
	}
	if c.RootCRL, err = i.Root.Revoke(i.RootCRL); err != nil {
		return nil, err
	}
	if c.PCKCRL, err = i.PCKCA.Revoke(i.PCKCRL); err != nil {
		return nil, err
	}
	if c.TCBInfo, c.TCBInfoSignature, err = i.TCBSigner.signJSON(i.TCBInfo); err != nil {
		return nil, err
	}
	if c.QEIdentity, c.QEIdentitySignature, err = i.TCBSigner.signJSON(i.QEIdentity); err != nil {
		return nil, err
	}
	return c, nil
}

// Quote signs a quote of an enclave, whoever it may be.
func (i *Issuance) Quote(enclave sgx.ReportBody) (*quote.Quote, error) {
	var q quote.Quote
	signature := &q.Signature
	point, err := i.AttestationKey.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("simulated: %w", err)
	}
	copy(signature.AttestationKey[:], point[1:]) // without the 0x04 of an uncompressed point
	signature.QEAuthData = qeAuthData()

	// What the PCE does when it certifies a key: check the QE's report of it and
	// sign that with the PCK.
	signature.QEReport = i.QE
	binding := sha256.New()
	binding.Write(signature.AttestationKey[:])
	binding.Write(signature.QEAuthData)
	binding.Sum(signature.QEReport.ReportData[:0])
	report, _ := signature.QEReport.MarshalBinary()
	if signature.QEReportSignature, err = i.PCK.Sign(report); err != nil {
		return nil, err
	}
	if signature.CertificationData, err = i.pckChain(); err != nil {
		return nil, err
	}

	q.BodyType = quote.BodySGX
	q.Header = quote.Header{
		Version: i.Version, KeyType: quote.KeyECDSAP256,
		// Verifiers refuse any other vendor; the label is in the tail of the
		// user data, which a genuine QE leaves zero.
		VendorID: quote.IntelVendorID(),
	}
	if i.Version == quote.Version3 { // later ones do not tell
		q.Header.QESVN, q.Header.PCESVN = signature.QEReport.ISVSVN, uint16(i.Extension.PCESVN)
	}
	copy(q.Header.UserData[:16], derive(16, "QE ID of "+i.node))
	copy(q.Header.UserData[16:], "SIM")

	q.Enclave = &enclave
	signed, err := q.SignedBytes()
	if err != nil {
		return nil, err
	}
	signature.Signature, err = sign(i.AttestationKey, signed)
	return &q, err
}

// pckChain signs the certificates of the platform.
func (i *Issuance) pckChain() (quote.CertificationData, error) {
	root, err := i.Root.Issue(i.Root)
	if err != nil {
		return quote.CertificationData{}, err
	}
	ca, err := i.Root.Issue(i.PCKCA)
	if err != nil {
		return quote.CertificationData{}, err
	}
	extension, err := i.Extension.marshal()
	if err != nil {
		return quote.CertificationData{}, err
	}
	template := *i.PCK.Template
	template.ExtraExtensions = append([]pkix.Extension{extension}, template.ExtraExtensions...)
	leaf, err := i.PCKCA.Issue(Authority{&template, i.PCK.Key})
	if err != nil {
		return quote.CertificationData{}, err
	}
	return quote.NewPCKChain(leaf, ca, root), nil
}
