package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/qcnl"
)

// asking is what came of asking the quote provider for certificates.
type asking struct {
	// invented is whether it was asked for a platform that does not exist, as the
	// identity of this one is not known.
	invented bool
	requests []fetch.Request // that the provider has made, as far as it logs them
	err      error           // nil if it has returned certificates that a worker would accept
}

// platform describes the platform that was asked for.
func (a asking) platform() string {
	if a.invented {
		return "a platform that does not exist"
	}
	return "this platform"
}

// unaskable returns why the quote provider cannot be asked here, empty if it can.
func (d *Doctor) unaskable() string {
	if d.Machine.Sysroot != "/" {
		return "this is another machine's tree of files"
	}
	if len(d.installed()) == 0 {
		return "no quote provider is installed here"
	}
	if _, err := exec.LookPath(d.Worker); err != nil {
		return d.Worker + ", which would run it, cannot be executed here"
	}
	return ""
}

// askProvider has the quote provider ask its services for this platform's certificates, as
// a worker of the quote helper does: in a process of its own, with the helper's
// configuration and environment, and what is added to that. What the provider has cached
// is neither used nor changed.
func (d *Doctor) askProvider(ctx context.Context, added ...string) (asking, error) {
	query, known := certificates.LastQuery(d.Certificates)
	if d.Platform != nil {
		query, known = *d.Platform, true
	}
	query.Fresh = false // which would clear the cache
	dir, err := os.MkdirTemp("", "confcom-doctor-")
	if err != nil {
		return asking{}, err
	}
	defer os.RemoveAll(dir)
	// Intel's provider prefers a cache that is there already to one that it has to create.
	if err := os.Mkdir(filepath.Join(dir, ".dcap-qcnl"), 0o700); err != nil {
		return asking{}, err
	}
	c := config.Default()
	c.Provider, c.QCNL, c.FetchTimeout = d.Provider, d.Configuration, d.FetchTimeout
	var services []string
	all, _ := d.services()
	for _, s := range all {
		if !s.optional {
			services = append(services, qcnl.WithoutPassword(s.base))
		}
	}
	fetcher := fetch.Fetcher{
		Command: []string{d.Worker, "--fetch", "--config=" + c.Encode(), "--log-format=json"},
		Service: strings.Join(services, " or "),
		Timeout: d.FetchTimeout,
		Env:     append(d.providerEnvironment(dir), added...),
		Log:     io.Discard, // the errors have its essence
	}
	_, requests, err := fetcher.Ask(ctx, query)
	return asking{invented: !known, requests: requests, err: err}, nil
}

// providerEnvironment returns the environment of the provider: that of the quote helper
// here, with another directory for what it caches.
func (d *Doctor) providerEnvironment(cache string) []string {
	env := slices.Clone(d.Environ)
	if d.Environ == nil {
		env = os.Environ()
	}
	set := func(name, value string, isSet bool) {
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		if isSet {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range qcnl.Variables() {
		value, isSet := d.variable(name)
		set(name, value, isSet)
	}
	set("QCNL_CONF_PATH", d.Configuration, true)
	set("AZDCAP_CACHE", cache, true)
	return env
}

// networkByProvider is the check network by way of the quote provider.
func (d *Doctor) networkByProvider(ctx context.Context) Check {
	asked, err := d.askProvider(ctx)
	if err != nil {
		return problem(err.Error(), "make the directory for temporary files ("+os.TempDir()+") writable for this user")
	}
	check := d.judge(ctx, asked)
	if asked.err == nil && len(asked.requests) == 1 && d.ofAzure() {
		// Its primary service has answered, so that it did not ask the secondary one.
		second, err := d.askProvider(ctx, "AZDCAP_BYPASS_BASE_URL=true")
		if err == nil && len(second.requests) > 0 && second.requests[0].URL != asked.requests[0].URL {
			check = both(check, d.judge(ctx, second))
		}
	}
	return check
}

// both returns the result of two checks of which one has to be ok.
func both(first, second Check) Check {
	result := Check{Verdict: first.Verdict, Seen: first.Seen + "; " + second.Seen, Remedy: first.Remedy}
	if second.Remedy != "" {
		result.Verdict = Warning
		result.Remedy = strings.TrimPrefix(result.Remedy+"; "+second.Remedy, "; ")
	}
	return result
}

// unknownYet ends what is said of answers for a platform that does not exist.
const unknownYet = "Whether there are certificates for this machine is unknown until a worker of the quote helper has asked for them"

// judge returns what the outcome means. The answers that confcom itself gets from the
// services explain a failure of the provider, which says little.
func (d *Doctor) judge(ctx context.Context, a asking) Check {
	seen := "the quote provider asked for certificates of " + a.platform() + ": " + a.seen()
	if _, isCode := errors.AsType[quote3.Error](a.err); a.err != nil && !isCode && len(a.requests) == 0 {
		seen = a.err.Error()
	}
	if a.err == nil && !a.invented {
		if remedies := d.remedies(ctx, a); remedies != "" {
			return warning(seen, remedies) // another service has answered
		}
		return ok(seen)
	}
	if a.err == nil {
		return ok(seen + ", with certificates. " + unknownYet)
	}
	var wrong, right []string
	var own []answer
	if a.ofNetwork() {
		own, _ = d.asked(ctx)
	}
	for _, o := range own {
		if d.remedyFor(o) == "" {
			right = append(right, o.String())
		} else if o.explains(a.requests...) && (len(a.requests) == 0 || slices.ContainsFunc(a.requests, o.isOf)) {
			wrong = append(wrong, o.String())
		}
	}
	if a.isReached() && len(wrong) == 0 && len(right) > 0 {
		return ok(seen + ", as it must; asked by confcom for the list of revoked certificates: " + strings.Join(right, "; ") + ". " + unknownYet)
	}
	if len(wrong) > 0 {
		seen += "; asked by confcom: " + strings.Join(wrong, "; ")
	}
	return problem(seen, d.remedies(ctx, a))
}

// seen describes the requests of the provider and its error.
func (a asking) seen() string {
	var all []string
	explained := false
	for _, r := range a.requests {
		switch {
		case r.CURL != "":
			all = append(all, r.URL+": error of libcurl: "+r.CURL)
		case r.Status != 0:
			all = append(all, r.URL+": HTTP status "+strconv.Itoa(r.Status))
		default:
			all = append(all, r.URL+": no answer")
		}
		explained = explained || r.CURL != "" || r.Status != 0 && r.Status != http.StatusOK || r.Status == 0 && a.timeout()
	}
	switch {
	case a.err != nil && !explained:
		all = append(all, a.err.Error())
	case a.err == nil && len(all) == 0:
		all = append(all, "it has certificates")
	}
	return strings.Join(slices.Compact(all), ", ")
}

// timeout reports whether the provider has not returned in time.
func (a asking) timeout() bool { return errors.Is(a.err, quote3.ServiceTimeout) }

// ofNetwork reports whether a service may be why the provider has failed, and not what is
// installed or configured here.
func (a asking) ofNetwork() bool {
	code, isCode := errors.AsType[quote3.Error](a.err)
	return isCode && (code.Check() == "" || code.Check() == "network")
}

// isReached reports whether all services that were asked for a platform that does not exist
// have answered that they do not know it.
func (a asking) isReached() bool {
	return a.invented && len(a.requests) > 0 && !slices.ContainsFunc(a.requests, func(r fetch.Request) bool {
		return r.CURL != "" || !slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, statusPlatformUnknown, statusNoCertificate}, r.Status)
	})
}

// explains reports whether an answer to confcom may explain why requests of the provider
// have failed. If one of them was answered, the service was reached.
func (a answer) explains(requests ...fetch.Request) bool {
	return a.err == nil || !slices.ContainsFunc(requests, func(r fetch.Request) bool { return r.Status != 0 })
}

// isOf reports whether an answer to confcom is from the service that a request of the
// provider went to.
func (a answer) isOf(r fetch.Request) bool {
	return strings.TrimRight(r.URL, "/") == strings.TrimRight(a.base, "/")
}

// remedies returns what to do about the requests that have failed, empty if none has.
func (d *Doctor) remedies(ctx context.Context, a asking) string {
	var all []string
	add := func(remedy string) {
		if remedy != "" && !slices.Contains(all, remedy) {
			all = append(all, remedy)
		}
	}
	for _, r := range a.requests {
		if r.CURL != "" || r.Status != 0 && r.Status != http.StatusOK || r.Status == 0 && a.timeout() {
			add(d.remedyForRequest(ctx, r))
		}
	}
	if a.err == nil || len(all) > 0 {
		return strings.Join(all, "; ")
	}
	// The provider has failed on an answer that is not an error, or before it had any.
	if a.ofNetwork() {
		own, _ := d.asked(ctx)
		for _, o := range own {
			if o.explains(a.requests...) {
				add(d.remedyFor(o))
			}
		}
	}
	_, useless := errors.AsType[*certificates.UselessError](a.err)
	code, isCode := errors.AsType[quote3.Error](a.err)
	switch {
	case len(all) > 0:
	case useless:
		add("something else than a PCCS answers at this address, or the PCCS is broken or has certificates of another platform: read its log and refresh its cache")
	case isCode && code.Advice() != "":
		add(code.Advice())
	default:
		add("see the checks providers and configuration")
	}
	return strings.Join(all, "; ")
}

// remedyForRequest returns what to do about a request of the provider that has failed.
func (d *Doctor) remedyForRequest(ctx context.Context, r fetch.Request) string {
	own, known := "", false // what to do about the same service's answer to confcom
	answers, _ := d.asked(ctx)
	for _, o := range answers {
		if o.explains(r) && o.isOf(r) {
			own, known = d.remedyFor(o), true
		}
	}
	switch {
	case r.CURL != "":
		return remedyForCURL(r.CURL, own)
	case r.Status == 0 && own != "":
		return own
	case r.Status == 0:
		return fmt.Sprintf("no answer within %s: check firewalls and the proxy, and whether the service is slow", d.FetchTimeout)
	case r.Status == http.StatusNotFound && own == "":
		return "the service knows nothing of this platform: register the platform (PCKIDRetrievalTool, or mpa_manage on multi-package machines), and fill the cache of a PCCS that does not ask Intel's service itself (CachingFillMode in its configuration)"
	case r.Status == http.StatusBadRequest && known && own == "":
		return "the service refuses the request: check custom_request_options, and the version of the PCCS"
	case (r.Status == http.StatusNotFound || r.Status == http.StatusBadRequest) && own != "":
		return own
	}
	return d.remedyFor(answer{base: r.URL, code: r.Status, status: strconv.Itoa(r.Status), location: locationOf(r)})
}

// locationOf returns where a redirect leads to, of which the provider logs nothing.
func locationOf(r fetch.Request) string {
	if r.Status/100 == 3 {
		return "elsewhere"
	}
	return ""
}

// remedyForCURL returns what to do about an error of libcurl, which begins with its number:
// libcurl-errors(3). Where the number says little, it is what to do about the answer to
// confcom, if there is anything.
func remedyForCURL(text, own string) string {
	number, _, _ := strings.Cut(strings.TrimPrefix(text, "("), ")")
	switch number {
	case "1", "3":
		return "libcurl does not take the URL: see the check configuration"
	case "5", "97":
		return "check the address of the proxy (https_proxy, all_proxy) and whether it works"
	case "35":
		return "TLS failed: check that the port is one for https, and the versions of TLS of the service"
	case "77":
		return "libcurl cannot read the CA certificates of this system: install the package ca-certificates"
	}
	if own != "" {
		return own
	}
	switch number {
	case "6":
		return "check the host name, and the DNS of this pod or machine"
	case "7":
		return "check that the service is running, its address and port, firewalls and the proxy (https_proxy)"
	case "28":
		return "no answer in time: check firewalls, network policies and the proxy"
	case "51", "60":
		return "install the CA certificate of the service here, where libcurl looks for it, or set use_secure_cert to false (dcap.provider.verifyTLS in the chart); the name in the certificate must be that in the URL"
	}
	return "check what is between this machine and the service: a proxy, or a load balancer"
}
