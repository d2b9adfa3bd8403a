package attesttest

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// What the PCK certificate and the collateral say about the platform. No genuine platform has
// this FMSPC.
const (
	fmspc  = "\x00\x5a\x1d\x00\x00\x00"
	pceID  = "\x00\x00"
	pceSVN = 13
)

// tcbComponents returns the 16 security versions of the platform's components.
func tcbComponents() [16]int { return [16]int{7, 7, 2, 2, 3, 1, 0, 5} }

// sgxOID returns Intel's OID of the SGX extension of PCK certificates, followed by suffix.
func sgxOID(suffix ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, suffix...)
}

// attribute is an attribute of the SGX extension.
type attribute struct {
	ID    asn1.ObjectIdentifier
	Value any
}

// PCKExtension is the SGX extension of a PCK certificate (Intel, "SGX PCK Certificate and
// Certificate Revocation List Profile Specification", section 1.3.5).
type PCKExtension struct {
	PPID       []byte // 16 bytes
	Components [16]int
	PCESVN     int
	PCEID      []byte // 2 bytes
	FMSPC      []byte // 6 bytes
	// InstanceID is the platform instance ID, 16 bytes, of a platform whose certificate is
	// issued by the Platform CA. With it, the extension also has the configuration: a dynamic
	// platform with cached keys, and SMT.
	InstanceID []byte
	SMT        bool
}

func (e PCKExtension) marshal() (pkix.Extension, error) {
	const (
		oidPPID = iota + 1
		oidTCB
		oidPCEID
		oidFMSPC
		oidSGXType
		oidInstanceID
		oidConfiguration

		oidPCESVN  = 17
		oidCPUSVN  = 18
		sgxTypeStd = 0
	)
	var tcb []attribute
	var cpuSVN []byte
	for i, svn := range e.Components {
		tcb = append(tcb, attribute{sgxOID(oidTCB, i+1), svn})
		cpuSVN = append(cpuSVN, byte(svn))
	}
	tcb = append(tcb, attribute{sgxOID(oidTCB, oidPCESVN), e.PCESVN}, attribute{sgxOID(oidTCB, oidCPUSVN), cpuSVN})
	attributes := []attribute{
		{sgxOID(oidPPID), e.PPID},
		{sgxOID(oidTCB), tcb},
		{sgxOID(oidPCEID), e.PCEID},
		{sgxOID(oidFMSPC), e.FMSPC},
		{sgxOID(oidSGXType), asn1.Enumerated(sgxTypeStd)},
	}
	if e.InstanceID != nil {
		attributes = append(attributes, attribute{sgxOID(oidInstanceID), e.InstanceID}, attribute{sgxOID(oidConfiguration), []attribute{
			{sgxOID(oidConfiguration, 1), true},
			{sgxOID(oidConfiguration, 2), true},
			{sgxOID(oidConfiguration, 3), e.SMT},
		}})
	}
	value, err := asn1.Marshal(attributes)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("attesttest: marshal SGX extension: %w", err)
	}
	return pkix.Extension{Id: sgxOID(), Value: value}, nil
}
