// Package version is the command 'confcom version': it prints what was built, from which
// commit and with which Go.
package version

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/buildinfo"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
)

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the version of confcom",
		Long:  `Print the version of confcom, and how it was built.`,
		Example: `  confcom version
  confcom version -o json | jq -r .version`,
		Args: args.None,
	}
	format := output.FormatFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		info := buildinfo.Read()
		if *format == output.JSON {
			if err := output.WriteJSON(command, info); err != nil {
				return exit.Failed(err)
			}
			return nil
		}
		p := output.NewPage(command.OutOrStdout())
		p.Row("confcom", "%s", info.Version)
		if info.Commit != "" {
			p.Row("commit", "%s", commit(info))
		}
		p.Row("Go", "%s", info.Go)
		p.Row("platform", "%s", info.Platform)
		if p.Err() != nil {
			return exit.Failed(p.Err())
		}
		return nil
	}
	return command
}

func commit(info buildinfo.Info) string {
	if info.Modified {
		return info.Commit + ", modified"
	}
	return info.Commit
}
