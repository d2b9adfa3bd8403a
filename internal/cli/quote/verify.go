package quote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/quote"
)

func newVerify() *cobra.Command {
	command := &cobra.Command{
		Use:   "verify (FILE | --tls HOST:PORT)",
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
info and the identity of the quoting enclave (QE). Without it, verification is INCOMPLETE.
--collateral takes one of

  - a file written by 'confcom collateral fetch' (the format of @phala/dcap-qvl)
  - a directory with such a file named collateral.json
  - the URL to fetch it from: Intel's service, a PCCS (Provisioning Certificate Caching
    Service), or Azure's cache

Some quotes have no certificates, but an ID of the platform, or the PCK (provisioning
certification key) certificate alone. The command takes the others from --pck-certificate,
from a collateral file, which has those of the CA and of the root, or from the service at
the URL.

A --policy file is a JSON object with the members of type Policy in the Go package
attest, which other flags override:

  {"mrSigners": ["83d719e7..."], "isvProdId": 1, "minIsvSvn": 2, "maxCollateralAge": "720h"}
  {"trustDomain": {"mrTds": ["01ab..."], "rtmr1": ["23cd..."]}}

The policy must state what is accepted; without that, verification is INCOMPLETE. For
enclaves these are --mrenclave, --mrsigner and --any-enclave; for trust domains --mrtd,
--any-trust-domain, and "trustDomain" in the file. A policy for one of the two does not
accept the other.

Collateral is fetched only if the quote's certificate chain ends in the trusted root and
its signatures are valid.

Only the quote is verified. What came with it, such as a certificate, its key or runtime
data, is listed as attached. If the report data begins with its SHA-256, the enclave or
trust domain has bound it; everything else is listed as not checked.

With --tls, the quote is that in the certificate of a running TLS server (RA-TLS). The
certificate is verified as well: it must be self-signed and valid, and the report data of the
quote must bind its key, as the format of the evidence defines it. The name in the certificate
does not matter.

` + fileAbout + `

Exit codes: 0 trusted; 1 not trusted; 2 bad input, or verification is incomplete.`,
		Example: `  confcom quote verify quote.bin --collateral collateral.json --mrsigner 83d719e7...
  kubectl logs job/attested-job | confcom quote verify - --root root.pem --collateral simulated-collateral --any-enclave
  confcom quote verify quote.bin --collateral collateral.json --mrsigner 83d719e7... --accept-status SWHardeningNeeded -o json
  confcom quote verify td-quote.bin --collateral collateral.json --mrtd 01ab... --rtmr1 23cd...
  confcom quote verify --tls enclave.example:443 --collateral https://api.trustedservices.intel.com --mrsigner 83d719e7...`,
	}
	command.Flags().SortFlags = false
	v := verification{command: command}
	const tlsFlag = "tls"
	address := command.Flags().String(tlsFlag, "", "verify the evidence in the certificate of the TLS server at this `HOST:PORT`")
	command.Args = func(command *cobra.Command, files []string) error {
		if !command.Flags().Changed(tlsFlag) {
			return args.File(command, files)
		}
		if len(files) > 0 {
			return fmt.Errorf("unexpected argument %q: pass either FILE or --tls", files[0])
		}
		return nil
	}
	format := output.FormatFlag(command)
	v.root = trust.RootFlag(command.Flags(), input.Reader(command))
	at := trust.TimeFlag(command)
	command.Flags().StringVar(&v.collateral, "collateral", "", "verify with the collateral in this `file` or directory, or from the service at this URL")
	command.Flags().StringVar(&v.certificates, "pck-certificate", "", "take the certificates that the quote lacks from this `file` (PEM): the PCK certificate, the CA's and the root's, in any order")
	v.fetcher.AddFlags(command.Flags())
	v.policy.addFlags(command.Flags())
	command.RunE = func(command *cobra.Command, args []string) error {
		when, err := at()
		if err != nil {
			return err
		}
		if command.Flags().Changed(tlsFlag) {
			verified, err := v.runTLS(*address, when)
			if verified == nil {
				return err
			}
			return v.report(*format, verified.Result, verified, verified.Server.write, when, err)
		}
		result, err := v.run(args[0], when)
		if result == nil {
			return err
		}
		return v.report(*format, result, result, func(*cobra.Command) error { return nil }, when, err)
	}
	return command
}

// report writes a result as of a time: document as JSON, or heading and the result for people.
// It returns the error of the command, by the error of the verification.
func (v *verification) report(format output.Format, result *verify.Result, document any, heading func(*cobra.Command) error, at time.Time, verdict error) error {
	var err error
	if format == output.JSON {
		err = output.WriteJSON(v.command, document)
	} else if err = heading(v.command); err == nil {
		if err = output.Form(v.command.OutOrStdout(), result.Evidence); err == nil {
			err = output.Result(v.command.OutOrStdout(), result.Result, at)
		}
	}
	switch {
	case err != nil:
		return exit.Failed(err)
	case errors.Is(verdict, attest.ErrIncomplete):
		return exit.BadInput(v.advice(result, verdict))
	case result.Quote.TD != nil && isRefusedTEE(verdict):
		return exit.Failed(errors.New("to accept a trust domain, pass --mrtd or --any-trust-domain, or \"trustDomain\" in the --policy file"))
	case !result.Trusted:
		return exit.Quietly(exit.CodeFailed)
	}
	return nil
}

// advice returns what to add to the command line of a verification that is incomplete, or else
// why it is.
func (v *verification) advice(result *verify.Result, incomplete error) error {
	var missing []string
	if !v.command.Flags().Changed("collateral") {
		missing = append(missing, "needs collateral: pass --collateral")
	}
	if slices.Contains(result.NotChecked, attest.UncheckedIdentity) {
		flags := "--mrenclave, --mrsigner or --any-enclave"
		if result.Quote.TD != nil {
			flags = "--mrtd or --any-trust-domain"
		}
		missing = append(missing, "must know what to accept: pass "+flags+", or a --policy file")
	}
	if missing == nil {
		return incomplete
	}
	return errors.New("verification " + strings.Join(missing, "; and "))
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
	// certificates is a file with those that the quote lacks.
	certificates string
	fetcher      trust.Fetcher
	policy       policyFlags
}

// run verifies the quote in a file as of a time. Without a result, its error is the
// command's.
func (v *verification) run(name string, at time.Time) (*verify.Result, error) {
	verifier, policy, err := v.verifier(at)
	if err != nil {
		return nil, err
	}
	e, err := input.Evidence(v.command, name)
	if err != nil {
		return nil, err
	}
	result, err := verifier.VerifyParsed(v.command.Context(), e, policy)
	if result == nil && errors.Is(err, quote.ErrUnsupported) {
		err = fmt.Errorf("%w (--pck-certificate)", err)
	}
	if result == nil {
		return nil, exit.BadInput(fmt.Errorf("%s: %w", name, err))
	}
	return result, err
}

// verifier returns a verifier as of a time, and the policy.
func (v *verification) verifier(at time.Time) (*verify.Verifier, attest.Policy, error) {
	root, err := v.root()
	if err != nil {
		return nil, attest.Policy{}, err
	}
	policy, err := v.policy.read()
	if err != nil {
		return nil, attest.Policy{}, exit.BadInput(err)
	}
	source, err := v.source(root)
	if err != nil {
		return nil, attest.Policy{}, err
	}
	certificates, err := v.certificateSource(root, source)
	if err != nil {
		return nil, attest.Policy{}, err
	}
	return &verify.Verifier{Roots: []attest.Root{root}, Source: source, Certificates: certificates, Now: func() time.Time { return at }}, policy, nil
}

// source returns the source of collateral of the flag, or nil if it is not given.
func (v *verification) source(root attest.Root) (attest.Source, error) {
	switch {
	case !v.command.Flags().Changed("collateral"):
		return nil, nil
	case trust.IsURL(v.collateral):
		v.fetcher.URL = v.collateral
		return fetched{v, root}, nil
	}
	bundle, err := trust.ReadCollateral(v.collateral)
	if err != nil {
		return nil, exit.BadInput(fmt.Errorf("--collateral: %w", err))
	}
	return bundle, nil
}

// fetched is collateral from a service.
type fetched struct {
	*verification
	root attest.Root
}

// CollateralFor fetches it.
func (f fetched) CollateralFor(_ context.Context, family attest.Family) (*attest.Collateral, error) {
	bundle, err := f.fetcher.Fetch(f.command, f.root, family)
	if err != nil {
		return nil, err
	}
	return &bundle.Collateral, nil
}

// certificateSource returns where certificates that the quote lacks are from: the file of the flag,
// together with the CAs' in a collateral file, or else the service.
func (v *verification) certificateSource(root attest.Root, source attest.Source) (verify.CertificateSource, error) {
	var known verify.Certificates
	if v.command.Flags().Changed("pck-certificate") {
		text, err := input.File(v.command, v.certificates)
		if err == nil {
			known, err = quote.ParseCertificates(text)
		}
		if err == nil && len(known) == 0 {
			err = errors.New("no certificates")
		}
		if err != nil {
			return nil, exit.BadInput(fmt.Errorf("--pck-certificate: %w", err))
		}
	}
	switch source := source.(type) {
	case fetched:
		return known.With(source), nil
	case *pcs.Bundle:
		// Collateral alone may lack them.
		if issuers, err := quote.ParseCertificates([]byte(source.PCKCRLIssuerChain)); err == nil {
			known = append(known, issuers...)
		}
	}
	if known == nil {
		return nil, nil
	}
	return known, nil
}

// CertificatesFor requests the certificates that a quote lacks.
func (f fetched) CertificatesFor(_ context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	return f.fetcher.Certificates(f.command, f.root, q)
}
