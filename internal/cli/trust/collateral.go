package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	"github.com/confcom/confcom/internal/cachedir"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/quote"
)

// Fetcher fetches collateral from a service, as the flags ask for.
type Fetcher struct {
	URL          string
	Update       string // early, standard, or empty for the service's default
	Cache        string // a directory; empty for none
	Timeout      time.Duration
	SkipTLSCheck bool
}

// DefaultTimeout is how long an attempt of a request may take by default.
const DefaultTimeout = 10 * time.Second

// SkipTLSCheckUsage is the help text of --skip-tls-check.
const SkipTLSCheckUsage = "accept any TLS certificate of the collateral service, such as a PCCS's self-signed one; " +
	"collateral is signed, so an attacker in between can only withhold newer collateral"

// AddFlags declares all flags but the one for the URL.
func (f *Fetcher) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.Update, "update", "", "`version` of the TCB info to request: early or standard; empty for the service's default")
	flags.StringVar(&f.Cache, "cache", "", "cache fetched collateral in this `directory` for as long as the service allows; only this user and root may be able to write to it")
	flags.DurationVar(&f.Timeout, "timeout", DefaultTimeout, "timeout of each attempt of a request")
	flags.BoolVar(&f.SkipTLSCheck, "skip-tls-check", false, SkipTLSCheckUsage)
}

// Client returns a client of the service, which the caller must close. It creates the cache
// directory.
func (f *Fetcher) Client(root attest.Root, progress func(pcs.Step)) (*pcs.Client, error) {
	switch f.Update {
	case "", "early", "standard":
	default:
		return nil, fmt.Errorf("--update=%s: not one of early, standard", f.Update)
	}
	if f.Timeout <= 0 {
		return nil, fmt.Errorf("--timeout=%s: must be greater than 0", f.Timeout)
	}
	service, err := pcs.ServiceAt(f.URL)
	if err != nil {
		return nil, err
	}
	if f.Cache != "" {
		if err := cachedir.Make(f.Cache); err != nil {
			return nil, fmt.Errorf("--cache: %w", err)
		}
	}
	client := &pcs.Client{Service: service, Roots: []attest.Root{root}, Update: f.Update, Dir: f.Cache, Timeout: f.Timeout, Progress: progress}
	if f.SkipTLSCheck {
		client.HTTP = &http.Client{Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // --skip-tls-check
			IdleConnTimeout: time.Minute,
		}}
	}
	return client, nil
}

// Fetch fetches the collateral for a family of platforms and prints its progress.
// Ctrl-C cancels it. Its errors are those of a command.
func (f *Fetcher) Fetch(command *cobra.Command, root attest.Root, family pcs.Family) (bundle *pcs.Bundle, err error) {
	err = f.with(command, root, func(ctx context.Context, client *pcs.Client) error {
		bundle, err = client.Refresh(ctx, family)
		return err
	})
	return bundle, err
}

// Certificates requests the certificates that a quote lacks. Otherwise it is as Fetch.
func (f *Fetcher) Certificates(command *cobra.Command, root attest.Root, q *quote.Quote) (chain []*x509.Certificate, err error) {
	err = f.with(command, root, func(ctx context.Context, client *pcs.Client) error {
		chain, err = client.CertificatesFor(ctx, q)
		return err
	})
	return chain, err
}

// with calls do with a client, until Ctrl-C cancels it.
func (f *Fetcher) with(command *cobra.Command, root attest.Root, do func(context.Context, *pcs.Client) error) error {
	client, err := f.Client(root, printSteps(command.ErrOrStderr()))
	if err != nil {
		return exit.BadInput(err)
	}
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer client.Close()
	err = do(ctx, client)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		err = fmt.Errorf("%w: install the service's CA on this machine, or pass --skip-tls-check", err)
	}
	if err != nil {
		return exit.BadInput(err) // nothing was verified
	}
	return nil
}

// printSteps returns a function that prints a line for each part of the collateral.
func printSteps(w io.Writer) func(pcs.Step) {
	var mu sync.Mutex
	return func(s pcs.Step) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case s.Err != nil && s.Cached:
			fmt.Fprintf(w, "%s: %v; using the cached copy\n", s.Part, s.Err)
		case s.Err != nil: // the command's error contains it
		case s.Cached:
			fmt.Fprintf(w, "%s: cached\n", s.Part)
		default:
			fmt.Fprintf(w, "%s: fetched from %s\n", s.Part, s.URL)
		}
	}
}

// CollateralFile returns the name of the file with collateral: name, or collateral.json
// in it if it is a directory.
func CollateralFile(name string) string {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return filepath.Join(name, "collateral.json")
	}
	return name
}

// ReadCollateral reads collateral from a file, or from collateral.json in a
// directory.
func ReadCollateral(name string) (*pcs.Bundle, error) {
	name = CollateralFile(name)
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

// IsURL reports whether text is a URL rather than the name of a file.
func IsURL(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}
