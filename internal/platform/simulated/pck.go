package simulated

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// What the platform is, as its PCK certificate and the collateral tell it. No
// Intel platform has this FMSPC.
const (
	fmspc  = "\x00\x5a\x1d\x00\x00\x00"
	pceID  = "\x00\x00"
	pceSVN = 13
)

// tcbComponents are the 16 security versions of the platform's parts.
func tcbComponents() [16]int { return [16]int{7, 7, 2, 2, 3, 1, 0, 5} }

// newPCK returns the platform's certification key and its certificate.
func (a *authorities) newPCK(node string) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	who := "PCK of " + node
	key, err := deriveKey(who)
	if err != nil {
		return nil, nil, err
	}
	extension, err := sgxExtension(derive(16, "PPID of "+node))
	if err != nil {
		return nil, nil, err
	}
	certificate, err := issue(pckName, who, key, x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment, noCA, &a.pck, extension)
	if err != nil {
		return nil, nil, err
	}
	return key, certificate, nil
}

// sgxOID is Intel's OID of the SGX extension of PCK certificates.
func sgxOID(suffix ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, suffix...)
}

// attribute is an entry of the SGX extension.
type attribute struct {
	ID    asn1.ObjectIdentifier
	Value any
}

// sgxExtension returns the extension that a PCK certificate of a Processor CA
// carries (Intel, "SGX PCK Certificate and Certificate Revocation List Profile
// Specification", section 1.3.5).
func sgxExtension(ppid []byte) (pkix.Extension, error) {
	const (
		oidPPID = iota + 1
		oidTCB
		oidPCEID
		oidFMSPC
		oidSGXType

		oidPCESVN  = 17
		oidCPUSVN  = 18
		sgxTypeStd = 0
	)
	var tcb []attribute
	var cpuSVN []byte
	for i, svn := range tcbComponents() {
		tcb = append(tcb, attribute{sgxOID(oidTCB, i+1), svn})
		cpuSVN = append(cpuSVN, byte(svn))
	}
	tcb = append(tcb, attribute{sgxOID(oidTCB, oidPCESVN), pceSVN}, attribute{sgxOID(oidTCB, oidCPUSVN), cpuSVN})

	value, err := asn1.Marshal([]attribute{
		{sgxOID(oidPPID), ppid},
		{sgxOID(oidTCB), tcb},
		{sgxOID(oidPCEID), []byte(pceID)},
		{sgxOID(oidFMSPC), []byte(fmspc)},
		{sgxOID(oidSGXType), asn1.Enumerated(sgxTypeStd)},
	})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("simulated: SGX extension: %w", err)
	}
	return pkix.Extension{Id: sgxOID(), Value: value}, nil
}
