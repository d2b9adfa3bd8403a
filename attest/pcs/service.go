package pcs

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/confcom/confcom/quote"
)

// Service is a service to fetch collateral from. The zero Service is none.
type Service struct {
	kind kind
	base string // of the URLs, with a trailing slash
}

type kind int

const (
	intel kind = iota
	pccs
	azure
)

const (
	basePath = "/sgx/certification/v4/"
	// intelRootCRL is the URL of the root CRL. Intel's service does not have it.
	intelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

// Intel returns Intel's own service.
func Intel() Service { return Service{intel, "https://api.trustedservices.intel.com" + basePath} }

// PCCS returns a cache at a URL such as https://pccs.example:8081/sgx/certification/v4/. The path may
// be omitted.
func PCCS(base string) (Service, error) { return at(pccs, base) }

// Azure returns Azure's cache, or a service with its API at a URL. An empty URL means Azure's global
// cache.
func Azure(base string) (Service, error) {
	if base == "" {
		base = "https://global.acccache.azure.net" + basePath
	}
	return at(azure, base)
}

// ServiceAt returns the service at a URL. The host decides which kind it is: Intel's, Azure's, or
// otherwise a PCCS.
func ServiceAt(base string) (Service, error) {
	u, err := url.Parse(base)
	if err != nil {
		return Service{}, fmt.Errorf("pcs: %w", err)
	}
	switch host := u.Hostname(); {
	case host == "api.trustedservices.intel.com":
		return at(intel, base)
	case strings.HasSuffix(host, ".azure.net"):
		return at(azure, base)
	}
	return at(pccs, base)
}

// at checks the URL of a service and adds the path of the API if there is none.
func at(k kind, base string) (Service, error) {
	u, err := url.Parse(base)
	if err != nil {
		return Service{}, fmt.Errorf("pcs: %w", err)
	}
	if u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return Service{}, fmt.Errorf("pcs: %q is not the URL of a service: want for example https://pccs.example:8081%s", base, basePath)
	}
	if strings.Contains(u.Path+"/", "/tdx/") {
		return Service{}, fmt.Errorf("pcs: %q is the path for TDX: want the one for SGX, %s; the one for TDX follows from it", base, basePath)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = basePath
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return Service{k, u.String()}, nil
}

// String returns the base of the service's URLs.
func (s Service) String() string { return s.base }

// tdxBase returns the base of the URLs of TCB info and QE identity for TDX: the last /sgx/ in the
// path is /tdx/.
func (s Service) tdxBase() string {
	i := strings.LastIndex(s.base, "/sgx/")
	return s.base[:max(i, 0)] + strings.Replace(s.base[max(i, 0):], "/sgx/", "/tdx/", 1)
}

// checkFamily checks that the service can have collateral for a family.
func (s Service) checkFamily(f Family) error {
	if f.TEE != quote.SGX && (f.TEE != quote.TDX || s.tdxBase() == s.base) {
		return fmt.Errorf("pcs: collateral for %s: the URL of the service, %s, has no /sgx/ in its path", f.TEE, s)
	}
	return nil
}

// part is one of the four parts of collateral.
type part struct {
	name string // for people
	url  string
	// chain is the names that the header with the issuer chain may have; empty if there is none.
	chain []string
	// restricted is set if the service wants Client.SubscriptionKey.
	restricted bool
}

// parts returns the parts of the collateral of a family and their URLs. Update is as
// Client.Update.
func (s Service) parts(f Family, update string) (rootCRL, pckCRL, tcbInfo, qeIdentity part) {
	query := func(base, path string, values ...string) string {
		q := url.Values{}
		for i := 0; i < len(values); i += 2 {
			if values[i+1] != "" {
				q.Set(values[i], values[i+1])
			}
		}
		if len(q) == 0 {
			return base + path
		}
		return base + path + "?" + q.Encode()
	}
	// CRLs are the same for both TEEs, and only below the path for SGX.
	tee := s.base
	if f.TEE == quote.TDX {
		tee = s.tdxBase()
	}
	pckCRL = part{"the PCK CRL", query(s.base, "pckcrl", "ca", string(f.CA), "encoding", "der"), []string{"SGX-PCK-CRL-Issuer-Chain"}, false}
	tcbInfo = part{"the TCB info", query(tee, "tcb", "fmspc", f.FMSPC, "update", update), []string{"TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"}, false}
	qeIdentity = part{"the QE identity", query(tee, "qe/identity", "update", update), []string{"SGX-Enclave-Identity-Issuer-Chain"}, false}
	rootCRL = part{name: "the root CRL"}
	switch s.kind {
	case intel:
		rootCRL.url = intelRootCRL
	case pccs:
		rootCRL.url = query(s.base, "rootcacrl")
	case azure:
		const version = "2018-10-01-preview"
		rootCRL.url = query(s.base, "pckcrl", "uri", intelRootCRL, "api-version", version)
		pckCRL.url = query(s.base, "pckcrl", "uri", Intel().base+"pckcrl?ca="+string(f.CA), "api-version", version)
	}
	return rootCRL, pckCRL, tcbInfo, qeIdentity
}
