package simulation

import (
	"crypto/subtle"
	"errors"
	"fmt"

	prf "github.com/tink-crypto/tink-go/v2/prf/subtle"

	"github.com/confcom/confcom/sgx"
)

// ErrMAC is returned for a report whose MAC does not match: it was made on another
// processor or for another target, or it was modified.
var ErrMAC = errors.New("report MAC does not match this processor and target")

// Verify checks the MAC of a report that was made for the enclave that self
// describes, as that enclave does with the EGETKEY instruction. It returns ErrMAC
// if the MAC does not match.
func (c CPU) Verify(report sgx.Report, self sgx.TargetInfo) error {
	mac, err := c.mac(report, self)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(mac[:], report.MAC[:]) != 1 {
		return ErrMAC
	}
	return nil
}

// mac returns the MAC of report's body under the report key of target.
func (c CPU) mac(report sgx.Report, target sgx.TargetInfo) (sgx.MAC, error) {
	key, err := c.reportKey(report.KeyID, target)
	if err != nil {
		return sgx.MAC{}, err
	}
	body, _ := report.Body.MarshalBinary()
	return cmac(key, body)
}

// cmac returns the AES-128-CMAC of data. A key is derived as a MAC, hence one type
// for both.
func cmac(key sgx.MAC, data []byte) (sgx.MAC, error) {
	p, err := prf.NewAESCMACPRF(key[:])
	if err != nil {
		return sgx.MAC{}, fmt.Errorf("sgx/simulation: %w", err)
	}
	sum, err := p.ComputePRF(data, uint32(len(sgx.MAC{})))
	if err != nil {
		return sgx.MAC{}, fmt.Errorf("sgx/simulation: %w", err)
	}
	return sgx.MAC(sum), nil
}
