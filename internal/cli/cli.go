// Package cli is the confcom command: it assembles the root command from a package
// for each subcommand, and runs it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/buildinfo"
	"github.com/confcom/confcom/internal/cli/bench"
	"github.com/confcom/confcom/internal/cli/collateral"
	"github.com/confcom/confcom/internal/cli/demo"
	"github.com/confcom/confcom/internal/cli/doctor"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/installation"
	"github.com/confcom/confcom/internal/cli/manifest"
	"github.com/confcom/confcom/internal/cli/node"
	"github.com/confcom/confcom/internal/cli/quote"
	"github.com/confcom/confcom/internal/cli/simulated"
	"github.com/confcom/confcom/internal/cli/supportbundle"
	"github.com/confcom/confcom/internal/cli/top"
	"github.com/confcom/confcom/internal/cli/verifier"
	"github.com/confcom/confcom/internal/cli/version"
)

// New returns the command with all its subcommands.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "confcom",
		Short: "Confidential computing on Kubernetes nodes with Intel SGX",
		Long: `Confidential computing on Kubernetes nodes with Intel SGX: inspect and diagnose nodes;
get, verify and benchmark quotes. 'confcom demo' shows remote attestation from end to
end, on any Linux machine.`,
		Version:       buildinfo.Read().String(),
		SilenceErrors: true, // Run prints them
		SilenceUsage:  true,
	}
	command.AddCommand(
		bench.New(),
		collateral.New(),
		demo.New(),
		doctor.New(),
		installation.New(),
		manifest.New(),
		node.New(),
		quote.New(),
		simulated.New(),
		supportbundle.New(),
		top.New(),
		verifier.New(),
		version.New(),
	)
	command.SetFlagErrorFunc(flagError)
	command.SetVersionTemplate("confcom {{.Version}}\n")
	command.SetUsageTemplate(usage)
	return command
}

// NameAs has help and errors call the command by another name, such as that of a plugin: the
// program may have no other name on this machine.
func NameAs(command *cobra.Command, name string) {
	command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: name}
	nameInExamples(command, name)
}

// called matches the name of the command where an example calls it on this machine.
var called = regexp.MustCompile(`(?m)(^  |\| )confcom `)

func nameInExamples(command *cobra.Command, name string) {
	command.Example = called.ReplaceAllString(command.Example, "${1}"+name+" ")
	for _, c := range command.Commands() {
		nameInExamples(c, name)
	}
}

// Run runs command, which New has returned, with these arguments. It prints the error,
// if any, and returns the exit code.
func Run(ctx context.Context, command *cobra.Command, args []string) int {
	command.SetArgs(args)
	called, err := command.ExecuteContextC(ctx)
	if err == nil {
		return exit.CodeOK
	}
	w := command.ErrOrStderr()
	switch e, ok := errors.AsType[*exit.Error](err); {
	case !ok: // the command line is wrong
		fmt.Fprintf(w, "%s: %v\nTry '%[1]s --help'.\n", called.CommandPath(), err)
	case e.Err != nil:
		fmt.Fprintf(w, "%s: %v\n", called.CommandPath(), err)
	}
	return exit.Code(err)
}

// flagError names the flag and its value first, where pflag names them in a sentence.
func flagError(_ *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s=%s: %w", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	return err
}

// usage is cobra's template of help texts, with the flags wrapped, and without what no
// command here has: aliases, groups and help topics.
const usage = `Usage:
{{- if .Runnable}}
  {{.UseLine}}
{{- else}}
  {{.CommandPath}} COMMAND
{{- end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Commands:
{{- range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}
{{- end}}{{end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}

'{{.CommandPath}} COMMAND --help' describes a command.
{{- end}}
`
