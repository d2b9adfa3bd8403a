package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/confcom/confcom/internal/qcnl"
)

// read returns the configuration of Intel's provider, and the findings in it.
func (d *Doctor) read() (qcnl.Config, []qcnl.Finding, error) {
	text, err := os.ReadFile(d.path(d.Configuration))
	if err != nil {
		return qcnl.Default(), nil, err
	}
	config, findings := qcnl.Parse(text)
	return config, findings, nil
}

// ofAzure reports whether the provider is Azure's, which does not use that configuration.
func (d *Doctor) ofAzure() bool {
	found := d.installed()
	return len(found) == 1 && found[0].pack == azureProvider
}

// azureService is the default service of Azure's provider.
const azureService = "https://global.acccache.azure.net/sgx/certification/v4/"

// configuration checks the configuration of Intel's quote provider.
func (d *Doctor) configuration(context.Context) Check {
	if d.ofAzure() {
		return skipped("the quote provider is " + azureProvider + ", which is configured by environment variables (AZDCAP_*)")
	}
	_, findings, err := d.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warning(d.Configuration+" does not exist: the provider uses a PCCS (Provisioning Certificate Caching Service) on this machine",
			"create the file, or set dcap.provider in the chart's values")
	case err != nil:
		return problem(err.Error(), "make the file readable for this user")
	case len(findings) == 0:
		return ok(d.Configuration)
	}
	verdict := OK
	var seen, remedies []string
	for _, f := range findings {
		switch f.Severity {
		case qcnl.Error:
			verdict = Problem
		case qcnl.Warning:
			if verdict == OK {
				verdict = Warning
			}
		}
		where := ""
		if f.Line > 0 {
			where = fmt.Sprintf(":%d", f.Line)
		}
		seen = append(seen, d.Configuration+where+": "+f.Text)
		remedies = append(remedies, f.Remedy)
	}
	return Check{Verdict: verdict, Seen: strings.Join(seen, "; "), Remedy: strings.Join(remedies, "; ")}
}

// answer is the answer of a certificate service, or why there is none.
type answer struct {
	url    string
	proxy  string // that the request went through; empty for none
	status string
	code   int
	skew   *time.Duration // how far this machine's clock is ahead of the service's; nil if unknown
	err    error
}

func (a answer) String() string {
	name := a.url
	if a.proxy != "" {
		name += " through the proxy " + a.proxy
	}
	if a.err != nil {
		return fmt.Sprintf("%s is unreachable: %v", name, a.err)
	}
	return fmt.Sprintf("%s answers (%s)", name, a.status)
}

// services returns the URLs of the services that the provider uses, and whether it
// verifies their TLS certificates. If it uses none, why is the reason.
func (d *Doctor) services() (urls []string, verifyTLS bool, why string) {
	if d.ofAzure() {
		return []string{cmp.Or(os.Getenv("AZDCAP_BASE_CERT_URL"), azureService)}, true, ""
	}
	config, _, err := d.read()
	if err != nil && len(d.installed()) == 0 {
		return nil, false, "found neither a quote provider nor its configuration, which name the services"
	}
	return config.URLs(), config.UseSecureCert, "the provider is configured to use no service"
}

// asked returns the answers of all services. It asks them concurrently, and only once.
func (d *Doctor) asked(ctx context.Context) (answers []answer, why string) {
	urls, verifyTLS, why := d.services()
	if d.answers == nil {
		d.answers = make([]answer, len(urls))
		var asking sync.WaitGroup
		for i, base := range urls {
			asking.Go(func() { d.answers[i] = d.ask(ctx, base, verifyTLS) })
		}
		asking.Wait()
	}
	return d.answers, why
}

// ask requests the root's certificate revocation list (CRL) from a service: unlike other
// requests, it needs no platform.
func (d *Doctor) ask(ctx context.Context, base string, verifyTLS bool) answer {
	a := answer{url: base}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/rootcacrl", nil)
	if err != nil {
		a.err = err
		return a
	}
	if proxy, err := http.ProxyFromEnvironment(request); err == nil && proxy != nil {
		a.proxy = proxy.Redacted()
	}
	request.Header.Set("metadata", "true") // Azure's service requires it
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: !verifyTLS}, // as the provider does
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		a.err = err
		// The URL is already part of the answer.
		if outer, ok := errors.AsType[*url.Error](err); ok {
			a.err = outer.Err
		}
		return a
	}
	response.Body.Close()
	a.status, a.code = response.Status, response.StatusCode
	if theirs, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		skew := time.Since(theirs).Round(time.Second)
		a.skew = &skew
	}
	return a
}

// network checks that the certificate services are reachable.
func (d *Doctor) network(ctx context.Context) Check {
	answers, why := d.asked(ctx)
	if len(answers) == 0 {
		return skipped(why)
	}
	verdict := OK
	var seen, remedies []string
	for _, a := range answers {
		seen = append(seen, a.String())
		remedy := ""
		switch {
		case a.err != nil, a.code == http.StatusUnauthorized, a.code == http.StatusForbidden, a.code == http.StatusProxyAuthRequired:
			remedy = d.networkRemedy(a)
		case a.code >= http.StatusInternalServerError:
			remedy = "check the log of " + a.url + ", or of the proxy in front of it"
		default:
			continue
		}
		verdict = Problem
		if !slices.Contains(remedies, remedy) {
			remedies = append(remedies, remedy)
		}
	}
	return Check{Verdict: verdict, Seen: strings.Join(seen, "; "), Remedy: strings.Join(remedies, "; ")}
}

func (d *Doctor) networkRemedy(a answer) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](a.err)
	_, name := errors.AsType[x509.HostnameError](a.err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](a.err)
	_, dns := errors.AsType[*net.DNSError](a.err)
	metadata := strings.Contains(a.url, "169.254.169.254")
	switch {
	case metadata && a.proxy != "":
		return "add 169.254.169.254 to no_proxy: Azure's metadata service answers only its own machine"
	case metadata:
		return "use this address only on Azure machines; in a pod, check network policies and firewalls"
	case a.err == nil:
		return "find out whether the service or a proxy denied the request, and which credentials it expects"
	case unknown, name:
		return "install the PCCS's CA certificate here, or set use_secure_cert to false (dcap.provider.verifyTLS in the chart)"
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

// maxSkew is the largest difference between clocks that does not matter for the validity
// of certificates.
const maxSkew = 5 * time.Minute

// clock compares this machine's clock with that of a service.
func (d *Doctor) clock(ctx context.Context) Check {
	now := time.Now()
	here := "this machine's clock: " + now.UTC().Format(time.RFC3339)
	if now.Year() < 2024 {
		return problem(here, "set the clock: the validity of certificates depends on it")
	}
	answers, _ := d.asked(ctx)
	for _, a := range answers {
		switch {
		case a.skew == nil:
		case a.skew.Abs() > maxSkew:
			return problem(fmt.Sprintf("%s, which differs by %s from that of %s", here, a.skew, a.url), "set the clock that is wrong: the validity of certificates depends on it")
		default:
			return ok("within " + maxSkew.String() + " of " + a.url)
		}
	}
	return skipped("no service to compare with; " + here)
}
