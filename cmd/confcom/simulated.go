package main

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
	"github.com/confcom/confcom/sgx/simulation"
)

func newSimulatedCommand() *cobra.Command {
	command := needsCommand(&cobra.Command{
		Use:   "simulated",
		Short: "What a verifier needs to judge quotes of simulated platforms",
		Long: `What a verifier needs to judge quotes of simulated platforms. Anyone can make
such quotes: give these files to verifiers in tests and demonstrations only.`,
	})
	command.AddCommand(newRootCommand(), newSimulatedCollateralCommand())
	return command
}

func newRootCommand() *cobra.Command {
	var out string
	command := &cobra.Command{
		Use:   "root",
		Short: "Write the root certificate of all simulated platforms (PEM)",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return save(command, out, simulation.RootPEM(), "root certificate")
		},
	}
	outFlag(command, &out)
	return command
}

func newSimulatedCollateralCommand() *cobra.Command {
	var dir string
	command := &cobra.Command{
		Use:   "collateral",
		Short: "Write the collateral of all simulated platforms as of today",
		Long: `Write the collateral of all simulated platforms as of today: TCB info, identity
of the quoting enclave and revocation lists, each in a file of its own, and all in
collateral.json, which is what the verifier @phala/dcap-qvl reads. root.pem is the
root certificate.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			collateral, err := attesttest.NewCollateral(time.Now())
			if err != nil {
				return failed(err)
			}
			files := attesttest.Files(collateral)
			files["root.pem"] = simulation.RootPEM()
			if files["collateral.json"], err = json.MarshalIndent(collateral, "", "  "); err != nil {
				return failed(err)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return failed(fmt.Errorf("--out-dir: %w", err))
			}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				if err := save(command, filepath.Join(dir, name), files[name], "collateral"); err != nil {
					return err
				}
			}
			return nil
		},
	}
	command.Flags().StringVar(&dir, "out-dir", "simulated-collateral", "write into this `directory`")
	return command
}
