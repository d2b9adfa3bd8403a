package doctor

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// proxyFor returns the proxy through which libcurl sends a request, nil for none. Unlike
// Go's, libcurl takes https_proxy in capitals but not http_proxy, knows all_proxy, and
// makes no exception for this machine.
func (d *Doctor) proxyFor(u *url.URL) (*url.URL, error) {
	names := []string{u.Scheme + "_proxy"}
	if u.Scheme != "http" { // a program behind a web server gets HTTP_PROXY from its clients
		names = append(names, strings.ToUpper(names[0]))
	}
	for _, name := range append(names, "all_proxy", "ALL_PROXY") {
		text, _ := d.variable(name)
		if text == "" {
			continue
		}
		if d.withoutProxy(u.Hostname()) {
			return nil, nil
		}
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		proxy, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s is not the address of a proxy", name) // it may contain a password
		}
		return proxy, nil
	}
	return nil, nil
}

// withoutProxy reports whether no_proxy names a host: itself, a domain that it is in, or a
// network.
func (d *Doctor) withoutProxy(host string) bool {
	list, set := d.variable("no_proxy")
	if !set {
		list, _ = d.variable("NO_PROXY")
	}
	if strings.TrimSpace(list) == "*" {
		return true
	}
	address, noAddress := netip.ParseAddr(host)
	for _, entry := range strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' }) {
		if network, err := netip.ParsePrefix(entry); err == nil && noAddress == nil && network.Contains(address) {
			return true
		}
		entry = strings.ToLower(strings.Trim(entry, "."))
		if host = strings.ToLower(host); entry != "" && (host == entry || noAddress != nil && strings.HasSuffix(host, "."+entry)) {
			return true
		}
	}
	return false
}
