package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func newQuoteCommand() *cobra.Command {
	command := needsCommand(&cobra.Command{
		Use:   "quote",
		Short: "Get, show and verify quotes",
	})
	command.AddCommand(newInspectCommand(), newVerifyCommand(), newGetCommand(), newReportCommand())
	return command
}

func newInspectCommand() *cobra.Command {
	var output format
	command := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what is in a quote, without judging it",
		Long: `Show what is in a quote, without judging it.

FILE holds the bytes of a quote, or text with a PEM block "SGX QUOTE" in it,
such as the log of a pod; "-" reads the standard input.`,
		Args: oneFile,
		RunE: func(command *cobra.Command, args []string) error {
			q, data, err := readQuote(command, args[0])
			if err != nil {
				return err
			}
			if output == formatJSON {
				err = writeJSON(command, q)
			} else {
				err = showQuote(command.OutOrStdout(), q, len(data))
			}
			if err != nil {
				return failed(err)
			}
			return nil
		},
	}
	output.flag(command)
	return command
}

// format is how a result is written: for people or for programs.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

func (f *format) flag(command *cobra.Command) {
	*f = formatText
	command.Flags().VarP(f, "output", "o", "how to write the result: text or json")
}

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(value string) error {
	switch v := format(value); v {
	case formatText, formatJSON:
		*f = v
		return nil
	}
	return fmt.Errorf("neither text nor json")
}

func writeJSON(command *cobra.Command, v any) error {
	encoder := json.NewEncoder(command.OutOrStdout())
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
