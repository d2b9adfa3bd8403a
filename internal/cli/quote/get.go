package quote

import (
	"errors"
	"encoding/pem"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/enclave"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
)

func newGet() *cobra.Command {
	command := &cobra.Command{
		Use:   "get",
		Short: "Get a quote from a quote helper",
		Long: `Get a quote from a quote helper with the same requests as Intel's client library.

The command stands in for an enclave with a simulated processor, so the quote helper
must run with --platform=simulated; SGX hardware rejects the simulated report. To get
a quote of a genuine enclave, pass the enclave's own report with --report.`,
		Example: `  confcom quote get --out quote.bin --report-data c0ffee
  confcom quote get --out - --pem | confcom quote inspect -`,
		Args: args.None,
	}
	var (
		client aesm.Client
		e      enclave.Enclave
	)
	enclave.SocketFlag(command, &client)
	e.ReportDataFlag(command)
	e.ReportFlag(command)
	out := output.FileFlag(command)
	text := command.Flags().Bool("pem", false, "write text: a PEM block \""+input.PEMType+"\"")
	command.RunE = func(command *cobra.Command, _ []string) error {
		if command.Flags().Changed("report") && command.Flags().Changed("report-data") {
			return errors.New("--report and --report-data: pass only one of them")
		}
		data, err := client.Quote(command.Context(), e.Report)
		if err != nil {
			return exit.Failed(err)
		}
		if *text {
			data = pem.EncodeToMemory(&pem.Block{Type: input.PEMType, Bytes: data})
		}
		return output.Save(command, *out, data, "quote")
	}
	return command
}
