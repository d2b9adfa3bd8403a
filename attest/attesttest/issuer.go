package attesttest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// Issuer is a fake Intel and a platform: the templates, keys and contents of everything that is
// issued. Change its fields to issue something else, for example invalid evidence, and then
// call Quote or QuoteTD, and Collateral. It is not safe for concurrent use.
type Issuer struct {
	Root      Authority
	PCKCA     Authority // issues PCK certificates: the Processor CA, or see UsePlatformCA
	TCBSigner Authority // signs TCB info and QE identity
	PCK       Authority // of the platform; Quote adds Extension to its template
	Extension PCKExtension

	RootCRL, PCKCRL *x509.RevocationList
	TCBInfo         TCBInfo
	QEIdentity      EnclaveIdentity

	// QE is the report body of the quoting enclave. Quote and QuoteTD add the report data that
	// binds the attestation key.
	QE             sgx.ReportBody
	AttestationKey *ecdsa.PrivateKey
	// Version is the version of quotes: 3, which all SGX platforms use so far, 4 or 5. Quotes
	// of trust domains have version 4 (TDX 1.0) or 5.
	Version quote.Version
	// CertificationType is what quotes have of the PCK certificate: quote.PCKChain, PCKLeaf, or
	// PPIDClear, PPIDRSA2048 and PPIDRSA3072. The encrypted PPIDs are noise. See PCKChain for
	// the certificates.
	CertificationType quote.CertificationDataType

	platform string
	day      time.Time
	forger   *ecdsa.PrivateKey // no verifier trusts it
}

// NewIssuer returns the issuer of an SGX platform as of the day of now (UTC). All platforms have the
// same authorities and collateral; the keys of a platform depend on its name. The same
// arguments give the same keys and bytes, now and in the future.
func NewIssuer(platform string, now time.Time) (*Issuer, error) {
	issued := now.UTC().Truncate(24 * time.Hour)
	crl := func(valid time.Duration) *x509.RevocationList {
		return &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: issued, NextUpdate: issued.Add(valid)}
	}
	i := &Issuer{
		Extension: PCKExtension{
			PPID: derive(16, "PPID of "+platform), Components: tcbComponents(), PCESVN: pceSVN, PCEID: []byte(pceID), FMSPC: []byte(fmspc),
		},
		RootCRL: crl(rootCRLValidity), PCKCRL: crl(collateralValidity),
		TCBInfo: newTCBInfo(issued), QEIdentity: newQEIdentity(issued),
		QE: quotingEnclave(), Version: quote.Version3, CertificationType: quote.PCKChain, platform: platform, day: issued,
	}
	for _, a := range []struct {
		into        *Authority
		name, owner string
		usage       x509.KeyUsage
		pathLength  int
	}{
		{&i.Root, rootName, "key of " + rootName, caUsage, 1},
		{&i.PCKCA, processorName, "key of " + processorName, caUsage, 0},
		{&i.TCBSigner, tcbName, "key of " + tcbName, signerUsage, noCA},
		{&i.PCK, pckName, "PCK of " + platform, signerUsage, noCA},
	} {
		var err error
		if *a.into, err = newAuthority(a.name, a.owner, a.usage, a.pathLength); err != nil {
			return nil, err
		}
	}
	var err error
	if i.forger, err = deriveKey("key of a forger"); err != nil {
		return nil, err
	}
	i.AttestationKey, err = deriveKey("attestation key of " + platform)
	return i, err
}

const (
	caUsage     = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	signerUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
)

// UsePlatformCA makes the platform one with several processor packages: the Platform CA
// issues its PCK certificate, which has a platform instance ID.
func (i *Issuer) UsePlatformCA() (err error) {
	i.PCKCA, err = newAuthority(platformName, "key of "+platformName, caUsage, 0)
	i.Extension.InstanceID = derive(16, "platform instance of "+i.platform)
	return err
}

// Collateral issues the collateral that verifiers need.
func (i *Issuer) Collateral() (*attest.Collateral, error) {
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
	if c.RootCRL, err = i.Root.SignCRL(i.RootCRL); err != nil {
		return nil, err
	}
	if c.PCKCRL, err = i.PCKCA.SignCRL(i.PCKCRL); err != nil {
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

// Quote issues a quote on an enclave. No enclave and no report are needed: the body is quoted as
// it is.
func (i *Issuer) Quote(enclave sgx.ReportBody) (*quote.Quote, error) {
	q := &quote.Quote{BodyType: quote.BodySGX, Enclave: &enclave}
	return q, i.sign(q)
}

// sign completes a quote that has a body.
func (i *Issuer) sign(q *quote.Quote) error {
	signature := &q.Signature
	point, err := i.AttestationKey.PublicKey.Bytes()
	if err != nil {
		return fmt.Errorf("attesttest: encode attestation key: %w", err)
	}
	copy(signature.AttestationKey[:], point[1:]) // without the 0x04 of an uncompressed point
	signature.QEAuthData = qeAuthData()

	// The PCE (provisioning certification enclave) certifies the attestation key: it signs
	// the QE report that binds the key with the PCK.
	signature.QEReport = i.QE
	binding := sha256.New()
	binding.Write(signature.AttestationKey[:])
	binding.Write(signature.QEAuthData)
	binding.Sum(signature.QEReport.ReportData[:0])
	report, _ := signature.QEReport.MarshalBinary()
	if signature.QEReportSignature, err = i.PCK.Sign(report); err != nil {
		return err
	}
	if signature.CertificationData, err = i.certificationData(); err != nil {
		return err
	}

	q.Header = quote.Header{
		Version: i.Version, KeyType: quote.KeyECDSAP256,
		// Verifiers refuse any other vendor. The tail of the user data, which a genuine QE
		// leaves zero, says that the quote is simulated.
		VendorID: quote.IntelVendorID(),
	}
	if q.TD != nil {
		q.Header.TEE = quote.TDX
	}
	if i.Version == quote.Version3 { // later versions do not have them
		q.Header.QESVN, q.Header.PCESVN = signature.QEReport.ISVSVN, uint16(i.Extension.PCESVN)
	}
	copy(q.Header.UserData[:16], derive(16, "QE ID of "+i.platform))
	copy(q.Header.UserData[16:], "SIM")

	signed, err := q.SignedBytes()
	if err != nil {
		return err
	}
	signature.Signature, err = Sign(i.AttestationKey, signed)
	return err
}

// certificationData returns what quotes have of the PCK certificate.
func (i *Issuer) certificationData() (quote.CertificationData, error) {
	chain, err := i.PCKChain()
	if err != nil {
		return quote.CertificationData{}, err
	}
	data := quote.CertificationData{Type: i.CertificationType}
	switch i.CertificationType {
	case quote.PCKChain:
		return quote.NewPCKChain(chain[0], chain[1], chain[2]), nil
	case quote.PCKLeaf:
		data.Data = []byte(encodePEM(chain[0]))
		return data, nil
	case quote.PPIDClear:
		data.Data = slices.Clone(i.Extension.PPID)
	case quote.PPIDRSA2048:
		data.Data = derive(256, "encrypted PPID of "+i.platform)
	case quote.PPIDRSA3072:
		data.Data = derive(384, "encrypted PPID of "+i.platform)
	default:
		return data, fmt.Errorf("attesttest: cannot issue quotes with a %s", i.CertificationType)
	}
	svn := simulation.DefaultCPU().SVN()
	data.Data = append(data.Data, svn[:]...)
	data.Data = binary.LittleEndian.AppendUint16(data.Data, uint16(i.Extension.PCESVN))
	data.Data = append(data.Data, i.Extension.PCEID...)
	return data, nil
}

// PCKChain issues the certificates of the platform: the PCK certificate, that of the CA, and that
// of the root.
func (i *Issuer) PCKChain() ([]*x509.Certificate, error) {
	root, err := i.Root.Issue(i.Root)
	if err != nil {
		return nil, err
	}
	ca, err := i.Root.Issue(i.PCKCA)
	if err != nil {
		return nil, err
	}
	extension, err := i.Extension.marshal()
	if err != nil {
		return nil, err
	}
	template := *i.PCK.Template
	template.ExtraExtensions = append([]pkix.Extension{extension}, template.ExtraExtensions...)
	leaf, err := i.PCKCA.Issue(Authority{&template, i.PCK.Key})
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{leaf, ca, root}, nil
}

// quotingEnclave returns the identity of the simulated QE.
func quotingEnclave() sgx.ReportBody {
	const (
		prodID = 1 // as Intel's QE
		svn    = 8
	)
	return sgx.ReportBody{
		CPUSVN:     simulation.DefaultCPU().SVN(),
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit | sgx.FlagProvisionKey, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte(Label + "quoting enclave")),
		MRSigner:   sha256.Sum256([]byte(Label + "signer of the quoting enclave")),
		ISVProdID:  prodID,
		ISVSVN:     svn,
	}
}

// qeAuthData returns what Intel's QE authenticates besides the key: the bytes 00 to 1f.
func qeAuthData() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
