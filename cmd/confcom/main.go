// Confcom is the command for people who work with confidential computing on
// SGX nodes: it tells what SGX a machine has, gets, shows and verifies quotes,
// and runs the whole way of a quote on any machine with a simulated SGX platform.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes of every command.
const (
	exitOK       = 0
	exitFailed   = 1 // the answer is no: a quote is refused, a node not ready; or a command failed
	exitBadInput = 2 // the command line or a file cannot be used: nothing was judged
)

func main() {
	os.Exit(run(context.Background(), newCommand(), os.Args[1:]))
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, command *cobra.Command, args []string) int {
	command.SetArgs(args)
	err := command.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	failed, ok := errors.AsType[*failure](err)
	switch {
	case !ok:
		fmt.Fprintf(command.ErrOrStderr(), "confcom: %v\nTry 'confcom --help'.\n", err)
		return exitBadInput
	case failed.err != nil:
		fmt.Fprintln(command.ErrOrStderr(), "confcom:", failed.err)
	}
	return failed.exit
}

func newCommand() *cobra.Command {
	command := &cobra.Command{
		Use:           "confcom",
		Short:         "Quotes and EPC memory on Kubernetes nodes with Intel SGX",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	command.AddCommand(newNodeCommand(), newDoctorCommand(), newQuoteCommand(), newCollateralCommands(), newVerifierCommand(), newBenchCommand(), newSimulatedCommand(), newDemoCommand())
	command.SetFlagErrorFunc(flagError)
	return command
}

// flagError words an error of the command line for the person who wrote it.
func flagError(_ *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s=%s: %w", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	return err
}

// needsCommand makes a command of one that only groups others: calling it by
// itself is an error, where cobra would print its help and succeed.
func needsCommand(command *cobra.Command) *cobra.Command {
	command.Args = cobra.ArbitraryArgs
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("'%s' needs one of its commands; '%[1]s --help' lists them", command.CommandPath())
		}
		return fmt.Errorf("unknown command %q for '%s'; '%[2]s --help' lists those that there are", args[0], command.CommandPath())
	}
	return command
}

// failure is an error with the exit code that it leads to; without err all is
// said already. Errors of another type come from the command line itself.
type failure struct {
	exit int
	err  error
}

func (f *failure) Error() string { return fmt.Sprint(f.err) }
func (f *failure) Unwrap() error { return f.err }

func badInput(err error) error { return &failure{exitBadInput, err} }

func failed(err error) error { return &failure{exitFailed, err} }
