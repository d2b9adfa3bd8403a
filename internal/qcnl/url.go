package qcnl

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

const (
	metadata = "169.254.169.254"
	thim     = "/metadata/THIM"
	example  = "https://pccs.example.org:8081" + path
)

// placeholder matches what examples leave to be filled in: <pccs-ip>, [Region-ID], ${URL},
// $URL, {{ .url }}, {url}, %s and names such as YOUR_PCCS.
var placeholder = regexp.MustCompile(`<[^>]*>|\[[A-Za-z][^\]:]*\]|\$\{?[A-Za-z_]\w*\}?|\{\{?[^}]*\}?\}|%[sdv]\b|\b[A-Z]+_[A-Z_]+\b`)

// version matches the version in the path of a service.
var version = regexp.MustCompile(`^(.*)/sgx/certification/(v\d+)/$`)

// credentials match user and password in a URL.
var credentials = regexp.MustCompile(`://[^/@]*@`)

// WithoutPassword returns a URL without user and password, to be shown.
func WithoutPassword(text string) string { return credentials.ReplaceAllString(text, "://…@") }

// checkURL checks the base URL of a service, as libcurl and the service take it.
func (l *linter) checkURL(key, text string) {
	if problem, remedy := l.invalidURL(text); problem != "" {
		l.find(key, Error, fmt.Sprintf("%s is %q: %s", key, WithoutPassword(text), problem), remedy)
		return
	}
	u, _ := url.Parse(text) // it is valid
	host := u.Hostname()
	number := version.FindStringSubmatch(u.Path)[2]
	switch {
	case number == "v3" && isAzure(host):
		l.find(key, Warning, key+" uses version 3 of the API, which Intel has discontinued and Azure still serves", "use version 4: "+strings.Replace(WithoutPassword(text), "/v3/", "/v4/", 1))
	case number == "v3":
		l.find(key, Error, key+" uses version 3 of the API, which Intel has discontinued: a current PCCS answers 410 to it", "use version 4: "+strings.Replace(WithoutPassword(text), "/v3/", "/v4/", 1))
	case number != "v4":
		l.find(key, Error, fmt.Sprintf("%s uses version %s of the API, which no service has", key, number[1:]), "end it with "+path)
	}
	switch {
	case u.Scheme == "http" && !isHere(host) && host != metadata:
		l.find(key, Warning, key+" does not use TLS", "use https, if the service supports it")
	case u.Scheme == "https" && host == metadata:
		l.find(key, Error, key+" uses TLS, which Azure's metadata service does not have", "use http")
	case isExample(host):
		l.find(key, Warning, key+" has the host name of an example, "+host, "write the name of your own service")
	case key == "pccs_url" && isHere(host):
		l.find(key, Note, "pccs_url is this machine, as in the file that the package installs", "set it to your cluster's PCCS, unless one runs here; in a pod, this is the pod itself")
	}
}

// invalidURL returns what is wrong with the base URL of a service and what to do, or
// nothing if it is valid.
func (l *linter) invalidURL(text string) (problem, remedy string) {
	if text == "" {
		return "it is empty", "write it like " + example
	}
	for _, c := range text {
		switch {
		case unicode.IsSpace(c) && c < unicode.MaxASCII:
			return "it contains a blank, and libcurl refuses it", "remove the blank"
		case c > unicode.MaxASCII || !unicode.IsPrint(c):
			return fmt.Sprintf("it contains the character %U", c), "type the URL again: such characters come from copying formatted text"
		}
	}
	if _, next, joined := strings.Cut(text, `\n`); joined {
		return fmt.Sprintf("the characters \\ and n and what follows, %q, belong to it", next), "write one setting on each line: in bash, echo turns \\n into a new line only with -e"
	}
	if strings.ContainsAny(text, `"'`) {
		return "the quotes belong to it", "remove them: the old format has no quotes"
	}
	if found := placeholder.FindString(text); found != "" {
		return "it contains the placeholder " + found, "write the address of your service in its place"
	}
	if strings.Count(text, "://") > 1 || strings.ContainsAny(text, ",;") {
		return "it is more than one URL, and the provider takes one", "keep one; a second service can be local_pck_url"
	}
	u, err := url.Parse(text)
	scheme := ""
	if u != nil {
		scheme = u.Scheme
	}
	switch {
	case !strings.Contains(text, "://"):
		return "it does not begin with https://", "write it like " + example
	case err != nil:
		return fmt.Sprintf("not a URL: %v", unwrapURL(err)), "write it like " + example
	case scheme != "https" && scheme != "http":
		return "it begins with " + scheme + "://", "begin it with https://"
	case u.Hostname() == "":
		return "it has no host", "write it like " + example
	case strings.HasSuffix(u.Host, ":"), !isPort(u.Port()):
		return "its port is no number from 1 to 65535", "write it like " + example
	case strings.ContainsAny(text, "?#"):
		return "the provider appends the names of resources, so that nothing may follow the path", "end it with " + path + "; parameters belong in custom_request_options"
	}
	return l.invalidPath(u)
}

// invalidPath is invalidURL for the path.
func (l *linter) invalidPath(u *url.URL) (problem, remedy string) {
	rest := u.EscapedPath()
	found := version.FindStringSubmatch(rest)
	switch {
	case strings.Count(rest, "/sgx/certification/") > 1:
		return "its path is there twice", "write " + path + " once, at the end"
	case strings.Contains(rest, "//"):
		return "its path has an empty element (//)", "write one slash"
	case found == nil && version.MatchString(rest+"/"):
		return "the provider appends the names of resources to it", "end it with a slash"
	case found == nil && strings.Contains(rest, "/tdx/certification/"):
		return "it is the path for TDX", "end it with " + path + ": for TDX, the provider replaces /sgx/ itself"
	case found == nil && strings.Contains(rest, "/sgx/certification/v"):
		return "the provider appends the names of resources to it, so that nothing may follow the version", "end it with " + path
	case found == nil:
		return "the provider appends the names of resources to it", "end it with " + path + ", including the last slash"
	case u.Hostname() == metadata && found[1] != thim:
		return "Azure's metadata service has another path", "write http://" + metadata + thim + path
	}
	return "", ""
}

func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func isPort(text string) bool {
	if text == "" {
		return true
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// hostOf returns the host of a URL, empty if it is none.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// isHere reports whether a host is this machine or, in a pod, the pod.
func isHere(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && (address.IsLoopback() || address.IsUnspecified())
}

// isIntel reports whether a host is Intel's Provisioning Certification Service (PCS).
func isIntel(host string) bool { return strings.HasSuffix(host, "trustedservices.intel.com") }

// isAzure reports whether a host is one of Azure's services.
func isAzure(host string) bool {
	return host == metadata || strings.HasSuffix(host, ".azure.net") || strings.HasSuffix(host, ".azure.com")
}

// isExample reports whether a host name is reserved for examples (RFC 2606).
func isExample(host string) bool {
	for _, domain := range []string{"example.com", "example.net", "example.org"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}
