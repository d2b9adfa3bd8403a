package pcs

import (
	"errors"
	"fmt"
	"net/http"
)

// maxHeader is larger than the header of any response, which has a chain of certificates.
const maxHeader = 64 << 10

// errRedirect is wrapped by the error of a redirect that is not followed.
var errRedirect = errors.New("redirects to other hosts are not followed")

// newHTTPClient returns a copy of a client, or a new one, that follows no redirects to other hosts:
// a service must not choose which hosts are sent requests. Unless the caller's transport bounds
// headers, or is of another kind, the client has a copy of it that does, which is returned.
func newHTTPClient(given *http.Client) (*http.Client, *http.Transport) {
	var client http.Client
	if given != nil {
		client = *given
	}
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	var own *http.Transport
	if transport, ok := client.Transport.(*http.Transport); ok && transport.MaxResponseHeaderBytes == 0 {
		own = transport.Clone()
		own.MaxResponseHeaderBytes = maxHeader
		client.Transport = own
	}
	next := client.CheckRedirect
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		from := via[0].URL
		switch {
		case r.URL.Host != from.Host, from.Scheme == "https" && r.URL.Scheme != "https":
			return fmt.Errorf("%s://%s: %w", r.URL.Scheme, r.URL.Host, errRedirect)
		case next != nil:
			return next(r, via)
		case len(via) >= 10:
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &client, own
}
