package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/confcom/confcom/internal/qcnl"
)

// The default services of Azure's provider.
const (
	azurePrimary = "http://" + metadataHost + "/metadata/THIM/sgx/certification"
	azureCaches  = "https://global.acccache.azure.net/sgx/certification"
)

const (
	metadataHost  = "169.254.169.254"
	azureCache    = ".azure.net"
	intelRootCRL  = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
	maxAnswer     = 1 << 20 // a CRL has a few KiB
	metadataQuery = "pckcert?qeid=00000000000000000000000000000000&cpusvn=00000000000000000000000000000000&pcesvn=0000&pceid=0000"
)

// service is a service that the provider gets the platform's certificates from.
type service struct {
	base            string // URL
	verifyTLS       bool
	headers, params map[string]string // that the provider is to add to requests
	// optional is whether quotes do without it.
	optional bool
}

// services returns the services that the provider uses. If it uses none, why is the
// reason.
func (d *Doctor) services() (all []service, why string) {
	if d.ofAzure() {
		return d.azureServices(), ""
	}
	config, _, err := d.read()
	if err != nil && len(d.installed()) == 0 {
		return nil, "found neither a quote provider nor its configuration, which name the services"
	}
	for _, base := range config.URLs() {
		all = append(all, service{base: base, verifyTLS: config.UseSecureCert, headers: config.Headers, params: config.Params})
	}
	return all, "the provider is configured to use no service"
}

// azureServices returns the services of Azure's provider, which adds version and resource to
// their addresses: two for certificates, the second after the first has failed, and one for
// what verifiers need.
func (d *Doctor) azureServices() []service {
	version := "/" + d.variableOr("AZDCAP_COLLATERAL_VERSION", "v4") + "/"
	var all []service
	add := func(s service) {
		s.base, s.verifyTLS = strings.TrimSuffix(s.base, "/")+version, true
		if !slices.ContainsFunc(all, func(other service) bool { return other.base == s.base }) {
			all = append(all, s)
		}
	}
	if bypass, _ := d.variable("AZDCAP_BYPASS_BASE_URL"); bypass == "" || strings.EqualFold(bypass, "false") {
		add(service{base: d.variableOr("AZDCAP_PRIMARY_BASE_CERT_URL", azurePrimary),
			headers: map[string]string{"metadata": "true"}, params: map[string]string{"api-version": "2021-07-22-preview"}})
	}
	add(service{base: d.variableOr("AZDCAP_SECONDARY_BASE_CERT_URL", azureCaches)})
	add(service{base: d.variableOr("AZDCAP_BASE_CERT_URL", azureCaches), optional: true})
	return all
}

// variableOr is variable with a default.
func (d *Doctor) variableOr(name, otherwise string) string {
	value, _ := d.variable(name)
	return cmp.Or(value, otherwise)
}

// request returns the URL of a request to which the right answer is known: a list of revoked
// certificates (CRL), which is the same for all platforms. Azure's metadata service has
// nothing but certificates; there the request names a platform that does not exist.
func (s service) request() (string, error) {
	u, err := url.Parse(s.base)
	if err != nil {
		return "", err
	}
	what := "pckcrl?ca=platform&encoding=der"
	switch {
	case u.Hostname() == metadataHost:
		what = metadataQuery
		for _, name := range slices.Sorted(maps.Keys(s.params)) {
			what += "&" + name + "=" + s.params[name]
		}
	case strings.HasSuffix(u.Hostname(), azureCache):
		what = "pckcrl?uri=" + url.QueryEscape(intelRootCRL) + "&api-version=2018-10-01-preview"
	}
	return s.base + what, nil
}

// asked returns the answers of all services. It asks them concurrently, and only once.
func (d *Doctor) asked(ctx context.Context) (answers []answer, why string) {
	services, why := d.services()
	if d.answers == nil {
		d.answers = make([]answer, len(services))
		var asking sync.WaitGroup
		for i, s := range services {
			asking.Go(func() { d.answers[i] = d.ask(ctx, s) })
		}
		asking.Wait()
	}
	return d.answers, why
}

// ask sends a request to a service as libcurl does for the provider: without following
// redirects, through the same proxy, and with the same idea of TLS certificates.
func (d *Doctor) ask(ctx context.Context, s service) answer {
	a := answer{base: qcnl.WithoutPassword(s.base), optional: s.optional}
	text, err := s.request()
	if err != nil {
		a.err = cause(err)
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		a.err = cause(err)
		return a
	}
	for name, value := range s.headers {
		request.Header.Set(name, value)
	}
	proxy, err := d.proxyFor(request.URL)
	if err != nil {
		a.err = err
		return a
	}
	if proxy != nil {
		a.proxy = proxy.Redacted()
	}
	client := http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyURL(proxy),
			DisableKeepAlives: true,
			TLSClientConfig:   tlsLikeCurl(request.URL.Hostname(), s.verifyTLS),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		a.err = cause(err)
		return a
	}
	defer response.Body.Close()
	if theirs, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		skew := time.Since(theirs).Round(time.Second)
		a.skew = &skew
	}
	a.status, a.code, a.location = response.Status, response.StatusCode, response.Header.Get("Location")
	a.body, a.err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return a
}

// cause returns the cause of an error about a URL, which is already part of the answer.
func cause(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

// tlsLikeCurl returns the settings of TLS with which libcurl connects to a host.
func tlsLikeCurl(host string, verify bool) *tls.Config {
	config := &tls.Config{ServerName: host, InsecureSkipVerify: true} // it is verified below
	if !verify {
		return config
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		options := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		if _, err := leaf.Verify(options); err != nil {
			return err
		}
		return namesHost(leaf, host)
	}
	return config
}

// namesHost returns an error if a certificate is not that of a host. The name may be that
// of the subject only.
func namesHost(c *x509.Certificate, host string) error {
	hasNames := len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) > 0
	if !hasNames && strings.EqualFold(c.Subject.CommonName, host) {
		return nil
	}
	return c.VerifyHostname(host)
}

// network checks that the certificate services give the right answer to the quote provider
// or, where that cannot be run, to requests of the same kind.
func (d *Doctor) network(ctx context.Context) Check {
	if services, why := d.services(); len(services) == 0 {
		return skipped(why)
	}
	why := d.unaskable()
	if why == "" {
		return d.networkByProvider(ctx)
	}
	check := d.networkByItself(ctx)
	check.Seen = "asked by confcom instead of the quote provider (" + why + "): " + check.Seen
	return check
}

// networkByItself is the check network without the quote provider. One service is enough
// for quotes.
func (d *Doctor) networkByItself(ctx context.Context) Check {
	answers, _ := d.asked(ctx)
	right := false
	var seen, remedies []string
	for _, a := range answers {
		seen = append(seen, a.String())
		remedy := d.remedyFor(a)
		if remedy == "" {
			right = right || !a.optional
		} else if !slices.Contains(remedies, remedy) {
			remedies = append(remedies, remedy)
		}
	}
	check := Check{Verdict: OK, Seen: strings.Join(seen, "; "), Remedy: strings.Join(remedies, "; ")}
	switch {
	case len(remedies) > 0 && right:
		check.Verdict = Warning
	case len(remedies) > 0:
		check.Verdict = Problem
	}
	return check
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
			return problem(fmt.Sprintf("%s, which differs by %s from that of %s", here, a.skew, a.base), "set the clock that is wrong: the validity of certificates depends on it")
		default:
			return ok("within " + maxSkew.String() + " of " + a.base)
		}
	}
	return skipped("no service to compare with; " + here)
}
