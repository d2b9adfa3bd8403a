package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
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

// configuration tells whether the provider reads its configuration as it is meant.
func (d *Doctor) configuration(context.Context) Check {
	_, findings, err := d.read()
	switch {
	case missing(err):
		return warning(d.Configuration+" is not here, and the provider asks a PCCS on this machine", "write one, or set dcap.provider in the values of the chart; az-dcap-client has none")
	case err != nil:
		return problem(err.Error(), "let this user read it")
	case len(findings) == 0:
		return ok(d.Configuration)
	}
	verdict := Warning
	var seen, remedies []string
	for _, f := range findings {
		if !f.Note {
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

// ask asks a service for anything.
func (d *Doctor) ask(ctx context.Context, config qcnl.Config, url string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: !config.UseSecureCert}, // as the provider does
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"rootcacrl", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("metadata", "true") // for Azure's
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	return response, nil
}

// network tells whether the services can be reached that have the certificates.
func (d *Doctor) network(ctx context.Context) Check {
	config, _, err := d.read()
	if err != nil {
		return skipped("there is no configuration that says whom the provider asks")
	}
	var seen []string
	for _, url := range config.URLs() {
		response, err := d.ask(ctx, config, url)
		if err != nil {
			return problem(fmt.Sprintf("%s cannot be reached: %v", url, err), d.networkRemedy(err))
		}
		seen = append(seen, fmt.Sprintf("%s answers (%s)", url, response.Status))
		if response.StatusCode >= 500 {
			return problem(seen[len(seen)-1], "look into the log of the PCCS")
		}
	}
	if len(seen) == 0 {
		return skipped("the provider asks nobody")
	}
	return ok(strings.Join(seen, ", "))
}

func (d *Doctor) networkRemedy(err error) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, dns := errors.AsType[*net.DNSError](err)
	switch {
	case unknown, name:
		return "install the CA of the PCCS here, or set use_secure_cert to false (dcap.provider.verifyTLS in the chart)"
	case dns:
		return "check the name of the host, and the DNS of this pod or machine"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("nothing came within %s: check firewalls, network policies and the proxy; the provider itself waits without end", d.Timeout)
	}
	return "check that the PCCS runs, its address and port, firewalls and the proxy (https_proxy)"
}

// maxSkew is how wrong a clock may be for certificates to be judged rightly.
const maxSkew = 5 * time.Minute

// clock compares the clock with that of a service.
func (d *Doctor) clock(ctx context.Context) Check {
	now := time.Now()
	if now.Year() < 2024 {
		return problem("it is "+now.UTC().Format(time.RFC3339)+" here", "set the clock: certificates are judged by it")
	}
	config, _, err := d.read()
	if err != nil {
		return skipped("there is nobody to compare it with: it is " + now.UTC().Format(time.RFC3339) + " here")
	}
	for _, url := range config.URLs() {
		response, err := d.ask(ctx, config, url)
		if err != nil {
			continue
		}
		theirs, err := http.ParseTime(response.Header.Get("Date"))
		if err != nil {
			continue
		}
		if skew := time.Since(theirs).Round(time.Second); skew.Abs() > maxSkew {
			return problem(fmt.Sprintf("it is %s off that of %s", skew, url), "set the clock of one of the two: certificates are judged by it")
		}
		return ok("as that of " + url)
	}
	return skipped("nobody could be asked for the time: it is " + now.UTC().Format(time.RFC3339) + " here")
}
