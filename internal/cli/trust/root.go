// Package trust declares the flags for what a verification relies on: the root
// certificate, the time and the collateral.
package trust

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/cli/exit"
)

// RootFlag declares the flag --root and returns a function that reads the root, by read from
// its file: Intel's if the flag is not given. An empty value is an error, as it may come from
// a variable that is not set.
func RootFlag(flags *pflag.FlagSet, read func(name string) ([]byte, error)) func() (attest.Root, error) {
	const flag = "root"
	name := flags.String(flag, "", "trust only the root certificate in this `file` (PEM) instead of Intel's")
	return func() (attest.Root, error) {
		if !flags.Changed(flag) {
			return attest.IntelRoot(), nil
		}
		if *name == "" {
			return attest.Root{}, exit.BadInput(errors.New("--root: the name of the file is empty: leave the flag out to trust Intel's root"))
		}
		text, err := read(*name)
		if err != nil {
			return attest.Root{}, exit.BadInput(fmt.Errorf("--root: %w", err))
		}
		root, err := attest.ParseRoot(text)
		if err != nil {
			return attest.Root{}, exit.BadInput(fmt.Errorf("--root=%s: %w", *name, err))
		}
		return root, nil
	}
}

// TimeFlag declares the flag --at of a command and returns a function that reads the
// time: now if the flag is not given.
func TimeFlag(command *cobra.Command) func() (time.Time, error) {
	const flag = "at"
	text := command.Flags().String(flag, "", "verify as of this `time` (RFC 3339) instead of now")
	return func() (time.Time, error) {
		if !command.Flags().Changed(flag) {
			return time.Now(), nil
		}
		at, err := time.Parse(time.RFC3339, *text)
		if err != nil {
			return time.Time{}, fmt.Errorf("--at=%s: not a time such as 2026-01-31T12:00:00Z", *text)
		}
		return at, nil
	}
}
