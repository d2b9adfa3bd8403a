package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// unknownYet ends what is said of answers for a platform that does not exist.
const unknownYet = "Whether there are certificates for this machine is unknown until a worker of the quote helper has asked for them"

// judge returns what the outcome means. The answers that confcom itself gets from the
// services explain a failure of the provider, which says little.
func (d *Doctor) judge(ctx context.Context, a asking) Check {
	seen := "the quote provider asked for certificates of " + a.platform() + ": " + a.seen()
	if a.err != nil && !a.ofNetwork() && len(a.requests) == 0 {
		seen = a.err.Error() // it could not be asked
	}
	var right, wrong []string
	if a.err != nil && a.ofNetwork() {
		right, wrong = d.own(ctx, a)
	}
	if len(right) > 0 {
		seen += ", as it must be; asked by confcom for the list of revoked certificates: " + strings.Join(right, "; ")
	}
	if len(wrong) > 0 {
		seen += "; asked by confcom: " + strings.Join(wrong, "; ")
	}
	if a.invented && (a.err == nil || len(right) > 0) {
		seen += ". " + unknownYet
	}
	remedies := d.remedies(ctx, a)
	switch {
	case remedies == "":
		return ok(seen)
	case a.err == nil, len(right) > 0:
		return warning(seen, remedies) // one service is enough
	}
	return problem(seen, remedies)
}

// own describes the answers of the services to confcom: those that are right, of services
// that do not know a platform that does not exist, and those that explain why others have
// given the provider no certificates.
func (d *Doctor) own(ctx context.Context, a asking) (right, wrong []string) {
	answers, _ := d.asked(ctx)
	for _, o := range answers {
		isWrong := d.remedyFor(o) != ""
		switch {
		case !isWrong && slices.ContainsFunc(a.requests, func(r fetch.Request) bool { return o.isOf(r) && a.isUnknown(r) }):
			right = append(right, o.String())
		case isWrong && o.explains(a.requests...) && (len(a.requests) == 0 || slices.ContainsFunc(a.requests, o.isOf)):
			wrong = append(wrong, o.String())
		}
	}
	return right, wrong
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

// isUnknown reports whether a service has answered that it does not know the platform that
// does not exist, or that its identity is not valid.
func (a asking) isUnknown(r fetch.Request) bool {
	return a.invented && r.CURL == "" && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, statusPlatformUnknown, statusNoCertificate}, r.Status)
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
	right := false
	for _, r := range a.requests {
		if r.CURL == "" && (r.Status == http.StatusOK || r.Status == 0 && !a.timeout()) {
			continue
		}
		if own, known := d.remedyForSame(ctx, r); a.isUnknown(r) && known && own == "" {
			right = true
		} else {
			add(d.remedyForRequest(r, own, known))
		}
	}
	if a.err == nil || right || len(all) > 0 {
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
	case isCode && code.Advice() != "" && !a.ofNetwork():
		add(code.Advice() + ": see the check " + code.Check())
	case isCode && code.Advice() != "":
		add(code.Advice())
	default:
		add("see the checks providers and configuration")
	}
	return strings.Join(all, "; ")
}

// remedyForSame returns what to do about the answer to confcom of the service that a
// request of the provider went to, and whether there is one that may explain the request.
func (d *Doctor) remedyForSame(ctx context.Context, r fetch.Request) (remedy string, known bool) {
	answers, _ := d.asked(ctx)
	for _, o := range answers {
		if o.explains(r) && o.isOf(r) {
			return d.remedyFor(o), true
		}
	}
	return "", false
}

// remedyForRequest returns what to do about a request of the provider that has failed. own
// is what remedyForSame returns of it.
func (d *Doctor) remedyForRequest(r fetch.Request, own string, known bool) string {
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
