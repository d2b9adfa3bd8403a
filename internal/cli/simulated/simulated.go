// Package simulated is the command 'confcom simulated', whose subcommands write what a
// verifier needs for quotes of simulated platforms.
package simulated

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/sgx/simulation"
)

// New returns the command.
func New() *cobra.Command {
	return args.Group(&cobra.Command{
		Use:   "simulated",
		Short: "Write the root certificate and collateral of simulated platforms",
		Long: `Write the root certificate and collateral of simulated platforms, with which verifiers
accept their quotes. Anyone can make such quotes, so give these files to verifiers in
tests and demonstrations only.`,
	}, newRoot(), newCollateral())
}

func newRoot() *cobra.Command {
	command := &cobra.Command{
		Use:     "root",
		Short:   "Write the root certificate of all simulated platforms (PEM)",
		Long:    `Write the root certificate of all simulated platforms (PEM).`,
		Example: `  confcom simulated root --out root.pem`,
		Args:    args.None,
	}
	out := output.FileFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		return output.Save(command, *out, simulation.RootPEM(), "root certificate")
	}
	return command
}

func newCollateral() *cobra.Command {
	command := &cobra.Command{
		Use:   "collateral",
		Short: "Write the collateral of all simulated platforms, issued today",
		Long: `Write the collateral of all simulated platforms, issued today, to a directory: TCB info,
the identity of the quoting enclave and revocation lists, each to its own file, and all
of them to collateral.json, which 'confcom quote verify' and the verifier @phala/dcap-qvl
read. root.pem is the root certificate.`,
		Example: `  confcom simulated collateral --out-dir simulated-collateral
  confcom quote verify quote.bin --root simulated-collateral/root.pem --collateral simulated-collateral --any-enclave`,
		Args: args.None,
	}
	dir := command.Flags().String("out-dir", "simulated-collateral", "write to this `directory`")
	command.RunE = func(command *cobra.Command, _ []string) error {
		collateral, err := attesttest.NewCollateral(time.Now())
		if err != nil {
			return exit.Failed(err)
		}
		files := attesttest.Files(collateral)
		files["root.pem"] = simulation.RootPEM()
		if files["collateral.json"], err = json.MarshalIndent(collateral, "", "  "); err != nil {
			return exit.Failed(err)
		}
		if err := os.MkdirAll(*dir, 0o755); err != nil {
			return exit.Failed(fmt.Errorf("--out-dir: %w", err))
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if err := output.Save(command, filepath.Join(*dir, name), files[name], "collateral"); err != nil {
				return err
			}
		}
		return nil
	}
	return command
}
