package collateral

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/quote"
)

func newFetch() *cobra.Command {
	command := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch and check the collateral for a family of platforms",
		Long: `Fetch the collateral for a family of platforms from Intel's service, or from the PCCS
(Provisioning Certificate Caching Service) or Azure cache at --url. Check all of it and
write it to one file, with which 'confcom quote verify --collateral' works offline.

The family is that of the platform in a quote (--quote), or given by --fmspc (the
platform's family, model, stepping, platform type and custom SKU), --ca and --tee: quotes
of enclaves (SGX) and of trust domains (TDX) need collateral of their own.

Exit codes: 0 fetched; 2 not fetched: bad input, no answer, or invalid collateral.`,
		Example: `  confcom collateral fetch --quote quote.bin --out collateral.json
  confcom collateral fetch --fmspc 00606A000000 --ca platform --url https://pccs.example:8081 --out collateral.json`,
		Args: args.None,
	}
	flags := command.Flags()
	quoteFile := flags.String("quote", "", "fetch for the platform of the quote in this `file`")
	fmspc := flags.String("fmspc", "", "fetch for platforms with this FMSPC (12 `hex` digits)")
	ca := flags.String("ca", "processor", "the `CA` that issues the platforms' PCK certificates: processor (one processor package) or platform (several)")
	tee := flags.String("tee", "sgx", "fetch collateral for quotes of this `TEE`: sgx (enclaves) or tdx (trust domains)")
	var f trust.Fetcher
	flags.StringVar(&f.URL, "url", pcs.Intel().String(), "fetch from the service at this `URL`")
	root := trust.RootFlag(command.Flags(), input.Reader(command))
	f.AddFlags(flags)
	out := output.FileFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		trusted, err := root()
		if err != nil {
			return err
		}
		family, err := readFamily(command, *quoteFile, *fmspc, *ca, *tee)
		if err != nil {
			return err
		}
		bundle, err := f.Fetch(command, trusted, family)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(bundle, "", "  ")
		if err != nil {
			return exit.Failed(err)
		}
		return output.Save(command, *out, append(text, '\n'), "collateral")
	}
	return command
}

// readFamily returns the family of the platform in a quote, or the one of the flags.
func readFamily(command *cobra.Command, quoteFile, fmspc, ca, tee string) (pcs.Family, error) {
	switch byQuote, byFMSPC := command.Flags().Changed("quote"), command.Flags().Changed("fmspc"); {
	case byQuote && byFMSPC:
		return pcs.Family{}, errors.New("--quote and --fmspc: pass only one of them")
	case !byQuote && !byFMSPC:
		return pcs.Family{}, errors.New("missing flag: pass --quote or --fmspc")
	case byFMSPC:
		family, err := pcs.NewFamily(fmspc, pcs.CA(ca))
		if err != nil {
			return family, exit.BadInput(err)
		}
		switch tee {
		case "sgx":
		case "tdx":
			family.TEE = quote.TDX
		default:
			return family, exit.BadInput(fmt.Errorf("--tee=%s: not one of sgx, tdx", tee))
		}
		return family, nil
	}
	q, _, err := input.Quote(command, quoteFile)
	if err != nil {
		return pcs.Family{}, err
	}
	family, err := pcs.FamilyOf(q)
	if err != nil {
		return family, exit.BadInput(fmt.Errorf("%s: %w", quoteFile, err))
	}
	return family, nil
}
