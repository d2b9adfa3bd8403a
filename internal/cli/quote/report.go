package quote

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/enclave"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
)

func newReport() *cobra.Command {
	command := &cobra.Command{
		Use:   "report",
		Short: "Make a report for a quote helper's quoting enclave",
		Long: `Make a report for a quote helper's quoting enclave: request the enclave's target info
from the quote helper, and write a report of the simulated processor for it (432
bytes). Use it to test other clients of a quote helper with --platform=simulated.`,
		Example: `  confcom quote report --out report.bin
  confcom quote get --report report.bin --out quote.bin`,
		Args: args.None,
	}
	var (
		client aesm.Client
		e      enclave.Enclave
	)
	enclave.SocketFlag(command, &client)
	e.ReportDataFlag(command)
	out := output.FileFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		initialized, err := client.InitQuote(command.Context(), aesm.IntelQE3KeyID())
		if err != nil {
			return exit.Failed(err)
		}
		report, err := e.Report(command.Context(), initialized.TargetInfo)
		if err != nil {
			return exit.Failed(err)
		}
		data, err := report.MarshalBinary()
		if err != nil {
			return exit.Failed(err)
		}
		return output.Save(command, *out, data, "report")
	}
	return command
}
