// Package args checks the arguments of commands. Its errors are about the command
// line, so the command's help is offered with them.
package args

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// None accepts no arguments.
func None(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are accepted", args[0])
	}
	return nil
}

// File accepts the name of one file.
func File(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return errors.New("missing argument FILE")
	case 1:
		return nil
	}
	return fmt.Errorf("unexpected argument %q: one FILE is accepted", args[1])
}

// Group makes command one that only groups its subcommands: calling it without one
// is an error, where cobra would print help and succeed.
func Group(command *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	command.AddCommand(subcommands...)
	command.Use += " COMMAND"
	command.DisableFlagsInUseLine = true
	command.SuggestionsMinimumDistance = 2
	command.Args = cobra.ArbitraryArgs
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("missing subcommand: one of %s", strings.Join(names(command), ", "))
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], command.CommandPath()) // as cobra words it for the root
		if near := command.SuggestionsFor(args[0]); len(near) > 0 {
			text += "\n\nDid you mean this?\n\t" + strings.Join(near, "\n\t") + "\n"
		}
		return errors.New(text)
	}
	return command
}

// names returns the names of the subcommands.
func names(command *cobra.Command) []string {
	var names []string
	for _, c := range command.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}
