package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
)

func newCollateralCommands() *cobra.Command {
	command := needsCommand(&cobra.Command{
		Use:   "collateral",
		Short: "Fetch and show what quotes are verified by",
	})
	command.AddCommand(newFetchCommand(), newShowCollateralCommand())
	return command
}

// fetching is how collateral is fetched.
type fetching struct {
	url, update, cache string
	timeout            time.Duration
	skipTLSCheck       bool
}

const skipTLSCheckUsage = "take any TLS certificate of the service, as a PCCS often has its own: collateral is signed, so that somebody in between can only keep back what is newer"

func (f *fetching) flags(flags *pflag.FlagSet) {
	flags.StringVar(&f.update, "update", "", "which TCB info to ask for: early or standard; empty leaves that to the service")
	flags.StringVar(&f.cache, "cache", "", "keep what was fetched in this `directory`, for as long as the service allows")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long each attempt of a request may take")
	flags.BoolVar(&f.skipTLSCheck, "skip-tls-check", false, skipTLSCheckUsage)
}

// client is one of the service.
func (f *fetching) client(root attest.Root, progress func(pcs.Step)) (*pcs.Client, error) {
	switch f.update {
	case "", "early", "standard":
	default:
		return nil, fmt.Errorf("--update=%s: neither early nor standard", f.update)
	}
	if f.timeout <= 0 {
		return nil, fmt.Errorf("--timeout=%s: give more than 0", f.timeout)
	}
	service, err := pcs.ServiceAt(f.url)
	if err != nil {
		return nil, err
	}
	if f.cache != "" {
		if err := os.MkdirAll(f.cache, 0o755); err != nil {
			return nil, fmt.Errorf("--cache: %w", err)
		}
	}
	client := &pcs.Client{Service: service, Roots: []attest.Root{root}, Update: f.update, Dir: f.cache, Timeout: f.timeout, Progress: progress}
	if f.skipTLSCheck {
		client.HTTP = &http.Client{Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // as was asked for
			IdleConnTimeout: time.Minute,
		}}
	}
	return client, nil
}

// fetchProgress writes a line for each request.
func fetchProgress(w io.Writer) func(pcs.Step) {
	var mu sync.Mutex
	return func(s pcs.Step) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case s.Err != nil && s.Kept:
			fmt.Fprintf(w, "%s: %v; what is in the cache has to do\n", s.Part, s.Err)
		case s.Err != nil: // which is said at the end
		case s.Kept:
			fmt.Fprintf(w, "%s: in the cache\n", s.Part)
		default:
			fmt.Fprintf(w, "%s: from %s\n", s.Part, s.URL)
		}
	}
}

// fetch gets the collateral of a family, until Ctrl-C.
func (f *fetching) fetch(command *cobra.Command, root attest.Root, family pcs.Family) (*pcs.Bundle, error) {
	client, err := f.client(root, fetchProgress(command.ErrOrStderr()))
	if err != nil {
		return nil, badInput(err)
	}
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bundle, err := client.Collateral(ctx, family)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		err = fmt.Errorf("%w: install its CA on this machine, or use --skip-tls-check", err)
	}
	if err != nil {
		return nil, badInput(err) // without collateral nobody can tell
	}
	return bundle, nil
}

func newFetchCommand() *cobra.Command {
	var (
		f                           fetching
		quoteFile, fmspc, root, out string
		ca                          string
	)
	command := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch the collateral of a family of platforms, and check it",
		Long: `Fetch the collateral of a family of platforms from Intel's service, or from a PCCS or
Azure's cache at --url, check all of it, and write it into one file, by which quotes
are verified where there is no network ('confcom quote verify --collateral').

The family is that of the platform of a quote (--quote), or --fmspc and --ca.

Exit codes: 0 fetched, 2 not: bad input, no answer, or one that is not good.`,
		Example: `  confcom collateral fetch --quote quote.bin --out collateral.json
  confcom collateral fetch --fmspc 00606A000000 --ca platform --url https://pccs.example:8081 --out collateral.json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			trusted, err := readRoot(command, root)
			if err != nil {
				return badInput(err)
			}
			var family pcs.Family
			if quoteFile != "" {
				q, _, err := readQuote(command, quoteFile)
				if err != nil {
					return err
				}
				if family, err = pcs.FamilyOf(q); err != nil {
					return badInput(fmt.Errorf("%s: %w", quoteFile, err))
				}
			} else if family, err = pcs.NewFamily(fmspc, pcs.CA(ca)); err != nil {
				return badInput(err)
			}
			bundle, err := f.fetch(command, trusted, family)
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(bundle, "", "  ")
			if err != nil {
				return failed(err)
			}
			return save(command, out, append(text, '\n'), "collateral")
		},
	}
	flags := command.Flags()
	flags.StringVar(&quoteFile, "quote", "", "fetch for the platform of the quote in this `file`")
	flags.StringVar(&fmspc, "fmspc", "", "fetch for platforms with this FMSPC, 12 `hex` digits")
	flags.StringVar(&ca, "ca", "processor", "whose CA is processor (one processor package) or platform (several)")
	flags.StringVar(&f.url, "url", pcs.Intel().String(), "ask the service at this `URL`")
	rootFlag(command, &root)
	f.flags(flags)
	outFlag(command, &out)
	command.MarkFlagsOneRequired("quote", "fmspc")
	command.MarkFlagsMutuallyExclusive("quote", "fmspc")
	return command
}

func newShowCollateralCommand() *cobra.Command {
	var (
		root, at string
		output   format
	)
	command := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what collateral is for, and whether it is good",
		Long: `Show which platforms collateral is for, whether everything in it is signed below the
root, and until when it is valid. FILE is one that 'confcom collateral fetch' has
written, or a directory with a collateral.json.

Exit codes: 0 good, 1 not good, 2 bad input.`,
		Args: oneFile,
		RunE: func(command *cobra.Command, args []string) error {
			trusted, err := readRoot(command, root)
			if err != nil {
				return badInput(err)
			}
			when, err := readTime(command, at)
			if err != nil {
				return badInput(err)
			}
			bundle, err := readCollateral(args[0])
			if err != nil {
				return badInput(err)
			}
			result, err := attest.NewVerifier(trusted).Check(&bundle.Collateral, when)
			if result == nil {
				return badInput(fmt.Errorf("%s: %w", args[0], err))
			}
			if output == formatJSON {
				err = writeJSON(command, result)
			} else {
				err = showCollateral(command, bundle, result)
			}
			switch {
			case err != nil:
				return failed(err)
			case !result.Trusted:
				return failed(nil) // it is said
			}
			return nil
		},
	}
	output.flag(command)
	rootFlag(command, &root)
	timeFlag(command, &at)
	return command
}

func showCollateral(command *cobra.Command, bundle *pcs.Bundle, result *attest.Result) error {
	p := &page{w: command.OutOrStdout()}
	if family, err := bundle.Family(); err == nil {
		p.row("platforms", "FMSPC %s, %s CA", family.FMSPC, family.CA)
	}
	if !bundle.Fetched.IsZero() {
		p.row("fetched", "%s", bundle.Fetched.UTC().Format(time.RFC3339))
	}
	p.line("")
	if p.err != nil {
		return p.err
	}
	if err := showSteps(command.OutOrStdout(), result); err != nil {
		return err
	}
	verdict := "GOOD until " + result.Expires.UTC().Format(time.RFC3339)
	if !result.Trusted {
		verdict = "NOT GOOD"
	}
	_, err := fmt.Fprintln(command.OutOrStdout(), verdict)
	return err
}

// readCollateral reads collateral from a file, or from collateral.json in a
// directory.
func readCollateral(name string) (*pcs.Bundle, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		name = filepath.Join(name, "collateral.json")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	bundle, err := pcs.ParseBundle(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bundle, nil
}

// isURL tells a URL from the name of a file.
func isURL(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}

func rootFlag(command *cobra.Command, root *string) {
	command.Flags().StringVar(root, "root", "", "trust only the root certificate in this PEM `file`, not Intel's")
}

// readRoot returns the root of a flag, or Intel's without it. An empty value is a
// mistake, such as a variable that is not set.
func readRoot(command *cobra.Command, name string) (attest.Root, error) {
	if !command.Flags().Changed("root") {
		return attest.IntelRoot(), nil
	}
	text, err := readFile(command, name)
	if err != nil {
		return attest.Root{}, fmt.Errorf("--root: %w", err)
	}
	root, err := attest.ParseRoot(text)
	if err != nil {
		return attest.Root{}, fmt.Errorf("--root=%s: %w", name, err)
	}
	return root, nil
}

func timeFlag(command *cobra.Command, at *string) {
	command.Flags().StringVar(at, "at", "", "judge as of this `time` (RFC 3339), not now")
}

func readTime(command *cobra.Command, text string) (time.Time, error) {
	if !command.Flags().Changed("at") {
		return time.Now(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("--at=" + text + ": not a time such as 2026-01-31T12:00:00Z")
	}
	return at, nil
}
