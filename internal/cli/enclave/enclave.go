// Package enclave stands in for an enclave in the commands that need one. Its reports
// are made by the simulated processor, which only quote helpers with a simulated
// platform accept, or come from a file that a genuine enclave has made.
package enclave

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// Enclave is the enclave.
type Enclave struct {
	// ReportData is what the simulated processor's reports contain.
	ReportData sgx.ReportData
	// Genuine, if not nil, is returned instead of a simulated report.
	Genuine *sgx.Report
}

// Report returns the enclave's report for target.
func (e Enclave) Report(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
	if e.Genuine != nil {
		return *e.Genuine, nil
	}
	return simulation.DefaultCPU().Report(sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte("SIMULATED: the confcom command stands in for an enclave")),
		MRSigner:   sha256.Sum256([]byte("SIMULATED: signer of the confcom command")),
		ReportData: e.ReportData,
	}, target)
}

// SocketFlag declares the flag --socket of a command.
func SocketFlag(command *cobra.Command, client *aesm.Client) {
	command.Flags().StringVar(&client.Socket, "socket", aesm.DefaultSocket, "`path` of the quote helper's socket")
}

// ReportDataFlag declares the flag --report-data of a command.
func (e *Enclave) ReportDataFlag(command *cobra.Command) {
	command.Flags().Var(reportData{&e.ReportData}, "report-data", "bind up to 64 bytes to the report, such as a verifier's nonce")
}

// ReportFlag declares the flag --report of a command.
func (e *Enclave) ReportFlag(command *cobra.Command) {
	command.Flags().Func("report", "quote the report in this `file` (432 bytes), which an enclave has made for this node's quoting enclave", func(name string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		e.Genuine = new(sgx.Report)
		return e.Genuine.UnmarshalBinary(data)
	})
}

// reportData is report data as the value of a flag, in hexadecimal.
type reportData struct{ data *sgx.ReportData }

func (r reportData) Type() string { return "hex" }

func (r reportData) String() string {
	if r.data == nil || *r.data == (sgx.ReportData{}) {
		return ""
	}
	return r.data.String()
}

func (r reportData) Set(value string) error {
	b, err := hex.DecodeString(value)
	if err != nil {
		return errors.New("not hexadecimal")
	}
	if len(b) > len(r.data) {
		return fmt.Errorf("%d bytes do not fit: report data has %d", len(b), len(r.data))
	}
	*r.data = sgx.ReportData{}
	copy(r.data[:], b)
	return nil
}
