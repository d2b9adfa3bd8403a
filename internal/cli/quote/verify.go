package quote

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/quote"
)

func newVerify() *cobra.Command {
	command := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a quote and appraise its platform and enclave or trust domain",
		Long: `Verify a quote and appraise its platform and its enclave (SGX) or trust domain (TDX). A
quote is TRUSTED if

  - a genuine quoting enclave signed it, on a platform whose certificate chain ends in
    a trusted root: Intel's, or that of --root
  - nothing in the chain is revoked, and the platform's TCB (trusted computing base) is
    up to date
  - no debugger can read the enclave or trust domain
  - it meets the appraisal policy: --policy, and the flags listed below it

Collateral is what Intel publishes for verifiers: certificate revocation lists (CRLs), TCB
info and the identity of the quoting enclave (QE). Without it, verification is INCOMPLETE. --collateral
takes one of

  - a file written by 'confcom collateral fetch' (the format of @phala/dcap-qvl)
  - a directory with such a file named collateral.json
  - the URL to fetch it from: Intel's service, a PCCS (Provisioning Certificate Caching
    Service), or Azure's cache

A --policy file is a JSON object with the members of type Policy in the Go package
attest, which other flags override:

  {"mrSigners": ["83d719e7..."], "isvProdId": 1, "minIsvSvn": 2, "maxCollateralAge": "720h"}
  {"trustDomain": {"mrTds": ["01ab..."], "rtmr1": ["23cd..."]}}

A trust domain is trusted only if the policy states which ones are accepted: with
--mrtd, --any-trust-domain, or "trustDomain" in the file. Such a policy accepts no enclave,
unless it also states which of them are accepted.

Only the quote is verified. What came with it, such as a certificate, its key or runtime
data, is listed as attached. If the report data begins with its SHA-256, the enclave or
trust domain has bound it; everything else is listed as not checked.

` + fileAbout + `

Exit codes: 0 trusted; 1 not trusted; 2 bad input, or verification is incomplete.`,
		Example: `  confcom quote verify quote.bin --collateral collateral.json --mrsigner 83d719e7...
  kubectl logs job/attested-job | confcom quote verify - --root root.pem --collateral simulated-collateral
  confcom quote verify quote.bin --collateral collateral.json --accept-status SWHardeningNeeded -o json
  confcom quote verify td-quote.bin --collateral collateral.json --mrtd 01ab... --rtmr1 23cd...`,
		Args: args.File,
	}
	command.Flags().SortFlags = false
	v := verification{command: command}
	format := output.FormatFlag(command)
	v.root = trust.RootFlag(command)
	at := trust.TimeFlag(command)
	command.Flags().StringVar(&v.collateral, "collateral", "", "verify with the collateral in this `file` or directory, or from the service at this URL")
	v.fetcher.AddFlags(command.Flags())
	v.policy.addFlags(command.Flags())
	command.RunE = func(command *cobra.Command, args []string) error {
		when, err := at()
		if err != nil {
			return err
		}
		result, err := v.run(args[0], when)
		if result == nil {
			return err
		}
		verdict := err
		if *format == output.JSON {
			err = output.WriteJSON(command, result)
		} else if err = output.Form(command.OutOrStdout(), result.Evidence); err == nil {
			err = output.Result(command.OutOrStdout(), result.Result, when)
		}
		switch {
		case err != nil:
			return exit.Failed(err)
		case errors.Is(verdict, attest.ErrIncomplete) && !command.Flags().Changed("collateral"):
			return exit.BadInput(errors.New("verification needs collateral: pass --collateral"))
		case errors.Is(verdict, attest.ErrIncomplete):
			return exit.Quietly(exit.CodeBadInput)
		case result.td && isRefusedTEE(verdict):
			return exit.Failed(errors.New("to accept a trust domain, pass --mrtd or --any-trust-domain, or \"trustDomain\" in the --policy file"))
		case !result.Trusted:
			return exit.Quietly(exit.CodeFailed)
		}
		return nil
	}
	return command
}

// isRefusedTEE reports whether a quote is not trusted because the policy has no part for its
// TEE.
func isRefusedTEE(verdict error) bool {
	failed, ok := errors.AsType[*attest.CheckError](verdict)
	return ok && failed.Check == attest.CheckTEE
}

// verification is what the command line asks for.
type verification struct {
	command    *cobra.Command
	root       func() (attest.Root, error)
	collateral string
	fetcher    trust.Fetcher
	policy     policyFlags
}

// verified is an attestation result and the evidence that had the quote.
type verified struct {
	*attest.Result
	Evidence evidence.Summary `json:"evidence"`
	td       bool             // whether the quote is about a trust domain
}

// run verifies the quote in a file as of a time. Without a result, its error is the
// command's.
func (v *verification) run(name string, at time.Time) (*verified, error) {
	root, err := v.root()
	if err != nil {
		return nil, err
	}
	policy, err := v.policy.read()
	if err != nil {
		return nil, exit.BadInput(err)
	}
	e, err := input.Evidence(v.command, name)
	if err != nil {
		return nil, err
	}
	collateral, err := v.readCollateral(root, e.Parsed)
	if err != nil {
		return nil, err
	}
	result, err := attest.NewVerifier(root).Verify(e.Parsed, collateral, policy, at)
	if result == nil {
		return nil, exit.BadInput(fmt.Errorf("%s: %w", name, err))
	}
	summary := e.Summary()
	for _, what := range summary.NotChecked() {
		result.NotChecked = append(result.NotChecked, attest.Unchecked(what))
	}
	return &verified{result, summary, e.Parsed.TD != nil}, err
}

// readCollateral returns the collateral of the flag, or nil if it is not given.
func (v *verification) readCollateral(root attest.Root, q *quote.Quote) (*attest.Collateral, error) {
	if !v.command.Flags().Changed("collateral") {
		return nil, nil
	}
	if !trust.IsURL(v.collateral) {
		bundle, err := trust.ReadCollateral(v.collateral)
		if err != nil {
			return nil, exit.BadInput(fmt.Errorf("--collateral: %w", err))
		}
		return &bundle.Collateral, nil
	}
	family, err := pcs.FamilyOf(q)
	if err != nil {
		return nil, exit.BadInput(err)
	}
	v.fetcher.URL = v.collateral
	bundle, err := v.fetcher.Fetch(v.command, root, family)
	if err != nil {
		return nil, err
	}
	return &bundle.Collateral, nil
}
