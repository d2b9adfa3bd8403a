package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// verification is what 'confcom quote verify' is asked to do.
type verification struct {
	fetching
	root, at, collateral string
	policy               attest.Policy
	policyFile           string
	product              uint16
}

func newVerifyCommand() *cobra.Command {
	var (
		v      verification
		output format
	)
	command := &cobra.Command{
		Use:   "verify FILE",
		Short: "Judge whether a quote is genuine, and its platform up to date",
		Long: `Judge whether a quote is to be trusted: signed by the quoting enclave of a platform
whose certificate chains to a trusted root, that is not revoked and up to date, of an
enclave that no debugger can read. The root is Intel's, unless --root gives another,
such as that of a simulated platform ('confcom simulated root').

Collateral is what Intel publishes for verifiers: revocation lists, TCB info and the
identity of the quoting enclave. Without it nobody can tell whether to trust a quote.
--collateral takes a file that 'confcom collateral fetch' has written (which is that of
the verifier @phala/dcap-qvl), a directory with a collateral.json, or the URL of
Intel's service, of a PCCS or of Azure's cache, which is then asked.

The flags from --policy on say what else is wanted of the quote. A --policy file in
JSON has the fields of Policy of the Go package attest; the flags overrule it.

FILE holds the bytes of a quote, or text with a PEM block "SGX QUOTE" in it,
such as the log of a pod; "-" reads the standard input.

Exit codes: 0 trusted, 1 not trusted, 2 cannot tell: bad input, or no collateral.`,
		Example: `  confcom quote verify quote.bin --collateral collateral.json --mrsigner 83d719e7...
  kubectl logs job/attested-job | confcom quote verify - --root simulated-root.pem --collateral simulated-collateral
  confcom quote verify quote.bin --collateral collateral.json --accept-status SWHardeningNeeded -o json`,
		Args: oneFile,
		RunE: func(command *cobra.Command, args []string) error {
			result, err := v.run(command, args[0])
			if result == nil {
				return err
			}
			verdict := err
			if output == formatJSON {
				err = writeJSON(command, result)
			} else {
				err = showResult(command.OutOrStdout(), result)
			}
			switch {
			case err != nil:
				return failed(err)
			case errors.Is(verdict, attest.ErrIncomplete):
				return badInput(nil) // it is said
			case !result.Trusted:
				return failed(nil)
			}
			return nil
		},
	}
	output.flag(command)
	command.Flags().SortFlags = false
	rootFlag(command, &v.root)
	timeFlag(command, &v.at)
	v.flags(command.Flags())
	return command
}

func (v *verification) flags(flags *pflag.FlagSet) {
	flags.StringVar(&v.collateral, "collateral", "", "judge by the collateral in this `file`, in a directory, or of a service at a URL")
	v.fetching.flags(flags)
	flags.StringVar(&v.policyFile, "policy", "", "want what this JSON `file` says")
	flags.Var(listFlag[attest.TCBStatus]{&v.policy.Statuses, "status", parseStatus}, "accept-status", "accept this TCB `status`, too, in Intel's words, such as SWHardeningNeeded; can be repeated")
	flags.StringSliceVar(&v.policy.Advisories, "accept-advisory", nil, "of the advisories for a platform that is not up to date, accept only this `one`, such as INTEL-SA-00615; can be repeated")
	flags.BoolVar(&v.policy.AllowDebug, "allow-debug", false, "accept enclaves that a debugger can read")
	flags.Var(listFlag[sgx.Measurement]{&v.policy.MREnclaves, "hex", parseMeasurement}, "mrenclave", "the enclave must be this `hex`, or one of several")
	flags.Var(listFlag[sgx.Measurement]{&v.policy.MRSigners, "hex", parseMeasurement}, "mrsigner", "the enclave must be signed by this `hex`, or one of several")
	flags.Uint16Var(&v.product, "product", 0, "the enclave must be this product of its signer")
	flags.Uint16Var(&v.policy.MinISVSVN, "min-svn", 0, "the enclave must be of this security version at least")
	flags.BytesHexVar((*[]byte)(&v.policy.ReportData), "report-data", nil, "the enclave must have bound this `hex`, such as a nonce, with zeros behind it")
	flags.DurationVar(&v.policy.MaxCollateralAge, "max-collateral-age", 0, "TCB info, QE identity and PCK CRL must have been issued no longer ago than this")
	flags.BoolVar(&v.policy.AcceptExpired, "accept-expired", false, "accept TCB info and QE identity after their nextUpdate, within --max-collateral-age")
	flags.IntVar(&v.policy.MinEvaluationDataNumber, "min-evaluation-data-number", 0, "the collateral must have this tcbEvaluationDataNumber at least")
}

// run judges. Without a result there was nothing to judge.
func (v *verification) run(command *cobra.Command, name string) (*attest.Result, error) {
	root, err := readRoot(command, v.root)
	if err != nil {
		return nil, badInput(err)
	}
	at, err := readTime(command, v.at)
	if err != nil {
		return nil, badInput(err)
	}
	if err := v.settle(command.Flags()); err != nil {
		return nil, badInput(err)
	}
	q, _, err := readQuote(command, name)
	if err != nil {
		return nil, err
	}
	collateral, err := v.readCollateral(command, root, q)
	if err != nil {
		return nil, err
	}
	result, err := attest.NewVerifier(root).Verify(q, collateral, v.policy, at)
	if result == nil {
		return nil, badInput(fmt.Errorf("%s: %w", name, err))
	}
	return result, err
}

// readCollateral returns the collateral of the flag, or nil without it.
func (v *verification) readCollateral(command *cobra.Command, root attest.Root, q *quote.Quote) (*attest.Collateral, error) {
	if !command.Flags().Changed("collateral") {
		return nil, nil
	}
	if !isURL(v.collateral) {
		bundle, err := readCollateral(v.collateral)
		if err != nil {
			return nil, badInput(fmt.Errorf("--collateral: %w", err))
		}
		return &bundle.Collateral, nil
	}
	family, err := pcs.FamilyOf(q)
	if err != nil {
		return nil, badInput(err)
	}
	v.fetching.url = v.collateral
	bundle, err := v.fetch(command, root, family)
	if err != nil {
		return nil, err
	}
	return &bundle.Collateral, nil
}

// settle makes the policy of the file and the flags.
func (v *verification) settle(flags *pflag.FlagSet) error {
	if flags.Changed("policy") {
		text, err := os.ReadFile(v.policyFile)
		if err != nil {
			return fmt.Errorf("--policy: %w", err)
		}
		// The flags have written into the policy already: they come last.
		filed, err := attest.ParsePolicy(text)
		if err != nil {
			return fmt.Errorf("--policy=%s: %w", v.policyFile, err)
		}
		given := v.policy
		v.policy = filed
		flags.Visit(func(f *pflag.Flag) {
			switch f.Name {
			case "accept-status":
				v.policy.Statuses = given.Statuses
			case "accept-advisory":
				v.policy.Advisories = given.Advisories
			case "allow-debug":
				v.policy.AllowDebug = given.AllowDebug
			case "mrenclave":
				v.policy.MREnclaves = given.MREnclaves
			case "mrsigner":
				v.policy.MRSigners = given.MRSigners
			case "min-svn":
				v.policy.MinISVSVN = given.MinISVSVN
			case "report-data":
				v.policy.ReportData = given.ReportData
			case "max-collateral-age":
				v.policy.MaxCollateralAge = given.MaxCollateralAge
			case "accept-expired":
				v.policy.AcceptExpired = given.AcceptExpired
			case "min-evaluation-data-number":
				v.policy.MinEvaluationDataNumber = given.MinEvaluationDataNumber
			}
		})
	}
	if flags.Changed("product") {
		v.policy.ISVProdID = &v.product
	}
	return nil
}

// listFlag is a flag that can be repeated.
type listFlag[T any] struct {
	list  *[]T
	kind  string
	parse func(string) (T, error)
}

func (l listFlag[T]) Type() string { return l.kind }

func (l listFlag[T]) String() string {
	if l.list == nil || len(*l.list) == 0 {
		return ""
	}
	return fmt.Sprint(*l.list)
}

func (l listFlag[T]) Set(value string) error {
	item, err := l.parse(value)
	if err == nil {
		*l.list = append(*l.list, item)
	}
	return err
}

func parseStatus(text string) (s attest.TCBStatus, err error) {
	err = s.UnmarshalText([]byte(text))
	return s, err
}

func parseMeasurement(text string) (sgx.Measurement, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(sgx.Measurement{}) {
		return sgx.Measurement{}, fmt.Errorf("not %d hexadecimal digits", 2*len(sgx.Measurement{}))
	}
	return sgx.Measurement(b), nil
}
