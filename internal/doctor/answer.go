package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// answer is the answer of a certificate service, or why there is none.
type answer struct {
	base     string // URL of the service, without a password
	proxy    string // that the request went through; empty for none
	status   string
	code     int
	location string // where it redirects to
	body     []byte
	skew     *time.Duration // how far this machine's clock is ahead of the service's; nil if unknown
	err      error
	optional bool // quotes do without the service
}

// The codes of a PCCS and of Intel's service that are not those of HTTP.
const (
	statusIntegrity       = 460
	statusPlatformUnknown = 461
	statusNoCertificate   = 462
)

func (a answer) String() string {
	name := a.base
	if a.optional {
		name += " (for verifiers)"
	}
	if a.proxy != "" {
		name += " through the proxy " + a.proxy
	}
	switch {
	case a.err != nil && a.status != "":
		return fmt.Sprintf("%s ends its answer (%s) too early: %v", name, a.status, a.err)
	case a.err != nil:
		return fmt.Sprintf("%s is unreachable: %v", name, a.err)
	case a.ofNobody():
		return fmt.Sprintf("%s answers (%s); whether it has certificates for this machine is not tried", name, a.status)
	case a.code == http.StatusOK && !a.isCRL():
		return fmt.Sprintf("%s answers (%s), but with %s", name, a.status, a.kind())
	case a.location != "":
		return fmt.Sprintf("%s answers (%s), a redirect to %s", name, a.status, a.location)
	}
	if said := a.said(); a.code != http.StatusOK && said != "" {
		return fmt.Sprintf("%s answers (%s): %q", name, a.status, said)
	}
	return fmt.Sprintf("%s answers (%s)", name, a.status)
}

// ofMetadata reports whether the service is Azure's metadata service.
func (a answer) ofMetadata() bool { return strings.Contains(a.base, "//"+metadataHost) }

// ofNobody reports whether the answer is the right one to a request of Azure's metadata
// service for a platform that does not exist.
func (a answer) ofNobody() bool {
	refused := a.code == http.StatusBadRequest || a.code == http.StatusNotFound
	said := strings.ToLower(a.said())
	return a.ofMetadata() && (a.code == http.StatusOK || refused && !strings.Contains(said, "metadata header") && !strings.Contains(said, "api-version") && !a.isHTML())
}

// isCRL reports whether the body is a list of revoked certificates: in DER, in DER written
// in hexadecimal, or in PEM.
func (a answer) isCRL() bool {
	der := bytes.TrimSpace(a.body)
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	} else if decoded, err := hex.DecodeString(string(der)); err == nil {
		der = decoded
	} else {
		der = a.body
	}
	_, err := x509.ParseRevocationList(der)
	return err == nil
}

func (a answer) isHTML() bool {
	start := strings.ToLower(string(a.body[:min(len(a.body), 512)]))
	return strings.Contains(start, "<html") || strings.Contains(start, "<!doctype")
}

// kind says what a body is that is no CRL.
func (a answer) kind() string {
	switch {
	case len(a.body) == 0:
		return "an empty body"
	case a.isHTML():
		return "an HTML page"
	case len(a.body) >= maxAnswer:
		return "more than 1 MiB"
	}
	return "something else than a CRL"
}

// said returns the message of an error: the body, if it is short and readable.
func (a answer) said() string {
	text := strings.Join(strings.Fields(string(a.body)), " ")
	if a.isHTML() || len(text) > 200 || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == '\uFFFD' }) {
		return ""
	}
	return text
}

// remedyFor returns what to do about an answer, empty if it is the right one.
func (d *Doctor) remedyFor(a answer) string {
	switch {
	case a.err != nil && a.status != "":
		return "check what is between this machine and the service: a proxy, or a load balancer"
	case a.err != nil:
		return d.remedyForSilence(a)
	case a.ofNobody(), a.code == http.StatusOK && a.isCRL():
		return ""
	case a.code == http.StatusOK && a.isHTML():
		return "find out who has sent the page, such as a proxy that asks for a login; the URL may also be that of something else"
	case a.ofMetadata() && a.code == http.StatusBadRequest:
		return "set the header metadata and the parameter api-version in custom_request_options (dcap.provider.azureTHIM in the chart)"
	case a.location != "":
		return "write the address that the redirect leads to: the provider does not follow redirects"
	}
	switch a.code {
	case http.StatusOK:
		return "check the address: what answers there is no PCCS, or one that is broken"
	case http.StatusBadRequest:
		return "check the version of the PCCS: it does not know this request"
	case http.StatusUnauthorized:
		return "the subscription key is wrong or missing: check ApiKey in the configuration of the PCCS or, if the service is Intel's, the header Ocp-Apim-Subscription-Key"
	case http.StatusForbidden:
		return "find out whether the service or a proxy denied the request, and which clients it lets in"
	case http.StatusNotFound:
		if strings.Contains(strings.ToLower(a.said()), "no cache data") {
			return "the PCCS has nothing in its cache: fill it, or let it reach Intel's service (CachingFillMode in its configuration)"
		}
		return "check the path of the URL: this service has nothing there"
	case http.StatusProxyAuthRequired:
		return "the proxy wants credentials: write them into the proxy's URL, or add the host to no_proxy"
	case http.StatusGone:
		return "the service no longer has this version of the API: end the URL with /sgx/certification/v4/"
	case http.StatusTooManyRequests:
		return "the service is asked too often: use a PCCS, and let the provider cache"
	case statusIntegrity:
		return "the PCCS could not verify what it got from Intel's service: read its log"
	case statusPlatformUnknown:
		return "the platform is not registered: register it (PCKIDRetrievalTool, or mpa_manage on multi-package machines)"
	case statusNoCertificate:
		return "Intel has no certificate for this platform at its TCB: update firmware and microcode, and register the platform again"
	case http.StatusBadGateway:
		return "a PCCS that answers so cannot reach Intel's service: check its proxy, its API key and its log; otherwise it is a proxy in front of it"
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "the service is overloaded or not running: check its log, or that of the proxy in front of it"
	}
	return "check the log of " + a.base + ", or of the proxy in front of it"
}

// remedyForSilence returns what to do if a service does not answer.
func (d *Doctor) remedyForSilence(a answer) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](a.err)
	_, name := errors.AsType[x509.HostnameError](a.err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](a.err)
	_, dns := errors.AsType[*net.DNSError](a.err)
	switch {
	case a.ofMetadata() && a.proxy != "":
		return "add 169.254.169.254 to no_proxy: Azure's metadata service answers only its own machine"
	case a.ofMetadata():
		return "use this address only on Azure machines; in a pod, check network policies and firewalls"
	case unknown:
		return "install the PCCS's CA certificate here, or set use_secure_cert to false (dcap.provider.verifyTLS in the chart)"
	case name:
		return "use the host name that is in the service's TLS certificate, or set use_secure_cert to false (dcap.provider.verifyTLS in the chart)"
	case invalid:
		return "renew the service's TLS certificate, and check this machine's clock"
	case a.proxy != "":
		return "check the proxy, or add the host to no_proxy"
	case dns:
		return "check the host name, and the DNS of this pod or machine"
	case errors.Is(a.err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s: check firewalls, network policies and the proxy; the provider itself has no timeout", d.Timeout)
	}
	return "check that the PCCS is running, its address and port, firewalls and the proxy (https_proxy)"
}
