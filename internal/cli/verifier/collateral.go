package verifier

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/internal/reload"
	"github.com/confcom/confcom/internal/verifyserver"
	"github.com/confcom/confcom/quote"
)

// client returns a client of the service at the URL.
func (s *server) client(root attest.Root, log *slog.Logger, metrics *verifyserver.Metrics) (*pcs.Client, error) {
	f := trust.Fetcher{URL: s.collateral, Cache: s.cache, Timeout: trust.DefaultTimeout, SkipTLSCheck: s.skipTLSCheck}
	return f.Client(root, func(step pcs.Step) {
		if step.Err != nil || !step.Cached { // otherwise the service was not asked
			metrics.Fetched(strings.TrimPrefix(step.Part, "the "), step.Err)
		}
		switch {
		case step.Err != nil:
			log.Warn("fetch collateral part failed", "part", step.Part, "url", step.URL, "cached", step.Cached, "error", step.Err)
		case !step.Cached:
			log.Info("fetched collateral part", "part", step.Part, "url", step.URL)
		}
	})
}

// file is collateral in a file.
type file struct{ *reload.Value[*pcs.Bundle] }

func (s *server) collateralFile(root attest.Root) (file, error) {
	path := trust.CollateralFile(s.collateral)
	verifier := attest.NewVerifier(root)
	var former *pcs.Bundle
	bundle, err := reload.Read(func() (*pcs.Bundle, error) {
		bundle, err := trust.ReadCollateral(path)
		if err != nil {
			return nil, err
		}
		if err := checkCollateral(verifier, bundle, former); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		former = bundle
		return bundle, nil
	}, path)
	return file{bundle}, err
}

// checkCollateral checks that collateral is signed under the root. Collateral that is not valid
// now does not replace a former one that is; without that, it is for each verification to refuse.
// Collateral without a chain for the PCK CRL can only be checked with a quote.
func checkCollateral(verifier *attest.Verifier, collateral, former *pcs.Bundle) error {
	if collateral.PCKCRLIssuerChain == "" {
		return nil
	}
	now := time.Now()
	result, err := verifier.Check(&collateral.Collateral, now)
	if result == nil || err == nil {
		return err
	}
	for _, check := range result.Checks {
		if !check.Passed && check.Name != attest.CheckCollateralValid {
			return err
		}
	}
	if former == nil {
		return nil
	}
	if _, invalid := verifier.Check(&former.Collateral, now); invalid != nil {
		return nil
	}
	return err
}

// Kept returns the collateral in the file, whatever the family: a verification notices collateral of
// another one.
func (f file) Kept(attest.Family) *attest.Collateral { return &f.Get().Collateral }

// Fetch returns the same: there is no other.
func (f file) Fetch(context.Context, netip.Addr, attest.Family, *attest.Collateral) (*attest.Collateral, error) {
	return f.Kept(attest.Family{}), nil
}

// Certificates returns own certificates of a client, with those of the CA and of the root in the file.
func (f file) Certificates(ctx context.Context, _ netip.Addr, q *quote.Quote, own verify.Certificates) ([]*x509.Certificate, error) {
	issuers, err := quote.ParseCertificates([]byte(f.Get().PCKCRLIssuerChain))
	if err != nil {
		return nil, fmt.Errorf("issuer chain of the PCK CRL: %w", err)
	}
	return slices.Concat(own, issuers).CertificatesFor(ctx, q)
}
