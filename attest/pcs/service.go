package pcs

import (
	"fmt"
	"net/url"
	"strings"
)

// Service is who is asked for collateral.
type Service struct {
	kind kind
	base string // of the URLs, with a slash at the end
}

type kind int

const (
	intel kind = iota
	pccs
	azure
)

const (
	basePath = "/sgx/certification/v4/"
	// intelRootCRL is where Intel has the root's list; its service has it nowhere else.
	intelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

// Intel is Intel's own service.
func Intel() Service { return Service{intel, "https://api.trustedservices.intel.com" + basePath} }

// PCCS is a cache at a URL such as https://pccs.example:8081/sgx/certification/v4/.
func PCCS(base string) (Service, error) { return at(pccs, base) }

// Azure is Azure's cache, or a service with its API. Empty is the global one.
func Azure(base string) (Service, error) {
	if base == "" {
		base = "https://global.acccache.azure.net" + basePath
	}
	return at(azure, base)
}

// ServiceAt guesses by the host what a service is: Intel's, Azure's, or else a PCCS.
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

// at checks a URL. The path of the API may be left out.
func at(k kind, base string) (Service, error) {
	u, err := url.Parse(base)
	if err != nil {
		return Service{}, fmt.Errorf("pcs: %w", err)
	}
	if u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return Service{}, fmt.Errorf("pcs: %q is no URL of a service such as https://pccs.example:8081%s", base, basePath)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = basePath
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return Service{k, u.String()}, nil
}

func (s Service) String() string { return s.base }

// part is one of the four things that collateral is made of.
type part struct {
	name string // for people
	url  string
	// chain are the names of the header that has the issuer chain; none where there is
	// none.
	chain []string
}

// parts are what to ask for the collateral of a family. Update is "early" or
// "standard".
func (s Service) parts(f Family, update string) (rootCRL, pckCRL, tcbInfo, qeIdentity part) {
	query := func(path string, values ...string) string {
		q := url.Values{}
		for i := 0; i < len(values); i += 2 {
			if values[i+1] != "" {
				q.Set(values[i], values[i+1])
			}
		}
		if len(q) == 0 {
			return s.base + path
		}
		return s.base + path + "?" + q.Encode()
	}
	pckCRL = part{"the PCK CRL", query("pckcrl", "ca", string(f.CA), "encoding", "der"), []string{"SGX-PCK-CRL-Issuer-Chain"}}
	tcbInfo = part{"the TCB info", query("tcb", "fmspc", f.FMSPC, "update", update), []string{"TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"}}
	qeIdentity = part{"the QE identity", query("qe/identity", "update", update), []string{"SGX-Enclave-Identity-Issuer-Chain"}}
	rootCRL = part{name: "the root CRL"}
	switch s.kind {
	case intel:
		rootCRL.url = intelRootCRL
	case pccs:
		rootCRL.url = query("rootcacrl")
	case azure:
		const version = "2018-10-01-preview"
		rootCRL.url = query("pckcrl", "uri", intelRootCRL, "api-version", version)
		pckCRL.url = query("pckcrl", "uri", Intel().base+"pckcrl?ca="+string(f.CA), "api-version", version)
	}
	return rootCRL, pckCRL, tcbInfo, qeIdentity
}
