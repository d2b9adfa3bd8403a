package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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

// read returns the configuration of Intel's provider and what is wrong with it.
func (d *Doctor) read() (qcnl.Config, []qcnl.Finding, error) {
	text, err := os.ReadFile(d.path(d.Configuration))
	if err != nil {
		return qcnl.Default(), nil, err
	}
	config, findings := qcnl.Parse(text)
	return config, findings, nil
}

// ofAzure tells whether the provider is Azure's, which has no such configuration.
func (d *Doctor) ofAzure() bool {
	found := d.installed()
	return len(found) == 1 && found[0].pack == azureProvider
}

// azureService is whom Azure's provider asks, unless its environment says otherwise.
const azureService = "https://global.acccache.azure.net/sgx/certification/v4/"

// configuration tells whether the provider reads its configuration as it is meant.
func (d *Doctor) configuration(context.Context) Check {
	if d.ofAzure() {
		return skipped("the quote provider is that of " + azureProvider + ", which is configured by its environment (AZDCAP_*)")
	}
	_, findings, err := d.read()
	switch {
	case missing(err):
		return warning(d.Configuration+" is not here, and the provider asks a PCCS on this machine", "write one, or set dcap.provider in the values of the chart")
	case err != nil:
		return problem(err.Error(), "let this user read it")
	case len(findings) == 0:
		return ok(d.Configuration)
	}
	verdict := Warning
	var seen, remedies []string
	for _, f := range findings {
		if f.Severity == qcnl.Error {
			verdict = Problem
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

// answer is what came of asking a service for anything.
type answer struct {
	url    string
	proxy  string // in the way; empty for none
	status string
	code   int
	skew   *time.Duration // how far the clock here is ahead of theirs, if they told
	err    error
}

func (a answer) String() string {
	name := a.url
	if a.proxy != "" {
		name += " through the proxy " + a.proxy
	}
	if a.err != nil {
		return fmt.Sprintf("%s cannot be reached: %v", name, a.err)
	}
	return fmt.Sprintf("%s answers (%s)", name, a.status)
}

// services are whom the provider asks, and whether it checks their certificates.
// Without any it says why.
func (d *Doctor) services() (urls []string, secure bool, why string) {
	if d.ofAzure() {
		return []string{cmp.Or(os.Getenv("AZDCAP_BASE_CERT_URL"), azureService)}, true, ""
	}
	config, _, err := d.read()
	if err != nil && len(d.installed()) == 0 {
		return nil, false, "there is neither a provider nor its configuration, to say whom it asks"
	}
	return config.URLs(), config.UseSecureCert, "the provider asks nobody"
}

// asked returns the answers of all services, which are asked at the same time and
// once only.
func (d *Doctor) asked(ctx context.Context) (answers []answer, why string) {
	urls, secure, why := d.services()
	if d.answers == nil {
		d.answers = make([]answer, len(urls))
		var asking sync.WaitGroup
		for i, base := range urls {
			asking.Go(func() { d.answers[i] = d.ask(ctx, base, secure) })
		}
		asking.Wait()
	}
	return d.answers, why
}

// ask asks a service for the revocation list of the root, as it needs no platform.
func (d *Doctor) ask(ctx context.Context, base string, secure bool) answer {
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
	request.Header.Set("metadata", "true") // Azure's refuses to answer without
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: !secure}, // as the provider does
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		a.err = err
		// The address is said already.
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

// network tells whether the services can be reached that have the certificates.
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
			remedy = "look into the log of " + a.url + ", or of what is in front of it"
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
		return "put 169.254.169.254 into no_proxy: Azure's metadata service answers its own machine only"
	case metadata:
		return "this address is there on machines of Azure only; in a pod, network policies and firewalls may hide it"
	case a.err == nil:
		return "look who refuses, the service itself or a proxy, and what it wants to know"
	case unknown, name:
		return "install the CA of the PCCS here, or set use_secure_cert to false (dcap.provider.verifyTLS in the chart)"
	case invalid:
		return "renew the certificate of the service, and look at the clock here"
	case a.proxy != "":
		return "check the proxy, or put the host into no_proxy"
	case dns:
		return "check the name of the host, and the DNS of this pod or machine"
	case errors.Is(a.err, context.DeadlineExceeded):
		return fmt.Sprintf("nothing came within %s: check firewalls, network policies and the proxy; the provider itself waits without end", d.Timeout)
	}
	return "check that the PCCS runs, its address and port, firewalls and the proxy (https_proxy)"
}

// maxSkew is how wrong a clock may be for certificates to be judged rightly.
const maxSkew = 5 * time.Minute

// clock compares the clock with that of a service.
func (d *Doctor) clock(ctx context.Context) Check {
	now := time.Now()
	here := "it is " + now.UTC().Format(time.RFC3339) + " here"
	if now.Year() < 2024 {
		return problem(here, "set the clock: certificates are judged by it")
	}
	answers, _ := d.asked(ctx)
	for _, a := range answers {
		switch {
		case a.skew == nil:
		case a.skew.Abs() > maxSkew:
			return problem(fmt.Sprintf("%s, %s off the clock of %s", here, a.skew, a.url), "set the clock of one of the two: certificates are judged by it")
		default:
			return ok("as that of " + a.url)
		}
	}
	return skipped("nobody could be asked for the time: " + here)
}
