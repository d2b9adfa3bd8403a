package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// enclave is what the commands that need an enclave stand in for one with: its
// reports are made by the simulated processor, so only a helper with a
// simulated platform accepts them. Or it is one that has made its report before.
type enclave struct {
	reportData sgx.ReportData
	genuine    *sgx.Report
}

// report makes the enclave's report for a target.
func (e enclave) report(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
	if e.genuine != nil {
		return *e.genuine, nil
	}
	return simulation.DefaultCPU().Report(sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
		MREnclave:  sha256.Sum256([]byte("SIMULATED: the confcom command stands in for an enclave")),
		MRSigner:   sha256.Sum256([]byte("SIMULATED: signer of the confcom command")),
		ReportData: e.reportData,
	}, target)
}

// hexReportData is the flag for an enclave's report data.
type hexReportData struct{ data *sgx.ReportData }

func (h hexReportData) Type() string { return "hex" }

func (h hexReportData) String() string {
	if h.data == nil || *h.data == (sgx.ReportData{}) {
		return ""
	}
	return h.data.String()
}

func (h hexReportData) Set(value string) error {
	b, err := hex.DecodeString(value)
	if err != nil {
		return errors.New("not hexadecimal")
	}
	if len(b) > len(h.data) {
		return fmt.Errorf("%d bytes; a report has room for %d", len(b), len(h.data))
	}
	*h.data = sgx.ReportData{}
	copy(h.data[:], b)
	return nil
}

func newGetCommand() *cobra.Command {
	var (
		client  aesm.Client
		enclave enclave
		out     string
		asPEM   bool
	)
	command := &cobra.Command{
		Use:   "get",
		Short: "Get a quote from a quote helper, as a client would",
		Long: `Get a quote from a quote helper, over the same requests that Intel's client
library makes. The command stands in for an enclave with the simulated processor,
so the helper must run with --platform=simulated: SGX hardware refuses its report.
With --report, it passes on what a genuine enclave has made.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			data, err := client.Quote(command.Context(), enclave.report)
			if err != nil {
				return failed(err)
			}
			if asPEM {
				data = pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: data})
			}
			return save(command, out, data, "quote")
		},
	}
	socketFlag(command, &client)
	reportDataFlag(command, &enclave)
	reportFlag(command, &enclave)
	command.MarkFlagsMutuallyExclusive("report", "report-data")
	outFlag(command, &out)
	command.Flags().BoolVar(&asPEM, "pem", false, "write text: a PEM block \""+pemType+"\"")
	return command
}

func newReportCommand() *cobra.Command {
	var (
		client  aesm.Client
		enclave enclave
		out     string
	)
	command := &cobra.Command{
		Use:   "report",
		Short: "Make the 432-byte report that a quote helper would quote",
		Long: `Make the 432-byte report that a quote helper would quote: ask the helper for
its quoting enclave's target info, and write a report of the simulated processor
for it. It serves to try other clients of a helper with --platform=simulated.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			initialized, err := client.InitQuote(command.Context(), aesm.IntelQE3KeyID())
			if err != nil {
				return failed(err)
			}
			report, err := enclave.report(command.Context(), initialized.TargetInfo)
			if err != nil {
				return failed(err)
			}
			data, err := report.MarshalBinary()
			if err != nil {
				return failed(err)
			}
			return save(command, out, data, "report")
		},
	}
	socketFlag(command, &client)
	reportDataFlag(command, &enclave)
	outFlag(command, &out)
	return command
}

func socketFlag(command *cobra.Command, client *aesm.Client) {
	command.Flags().StringVar(&client.Socket, "socket", aesm.DefaultSocket, "the quote helper's socket `path`")
}

func reportDataFlag(command *cobra.Command, e *enclave) {
	command.Flags().Var(hexReportData{&e.reportData}, "report-data", "bind these bytes, at most 64, for example a verifier's nonce")
}

// reportFlag has e be an enclave that has made its report before.
func reportFlag(command *cobra.Command, e *enclave) {
	command.Flags().Func("report", "quote the report in this `file`, 432 bytes, which an enclave has made for the target info of this node's quoting enclave", func(name string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		e.genuine = new(sgx.Report)
		return e.genuine.UnmarshalBinary(data)
	})
}

func outFlag(command *cobra.Command, out *string) {
	command.Flags().StringVar(out, "out", "", "write to this `file`; \"-\" is the standard output")
	if err := command.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag was declared in the line before
	}
}

// save writes what a command made and says so.
func save(command *cobra.Command, name string, data []byte, what string) error {
	if err := writeFile(command, name, data); err != nil {
		return failed(fmt.Errorf("--out: %w", err))
	}
	if name != "-" {
		fmt.Fprintf(command.ErrOrStderr(), "%s of %d bytes written to %s\n", what, len(data), name)
	}
	return nil
}
