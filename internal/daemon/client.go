package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Client returns what counts as one client, by the address at the other end of a
// connection: the address without the port, or the /64 network of a public IPv6 address, of
// which one machine can have as many as it likes.
//
// In a cluster, such a network is shared by many pods and by the kubelet, which assign the
// addresses: there, each address is a client. Those of a cluster are private, or in one of
// the given networks. Connections other than TCP count as those of one client.
func Client(remoteAddr string, cluster Networks) netip.Addr {
	remote, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := remote.Addr().Unmap().WithZone("")
	if address.Is4() || address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() || cluster.contain(address) {
		return address
	}
	network, _ := address.Prefix(64) // the length is valid
	return network.Addr()
}

// Networks are IP networks. They are the value of a flag.
type Networks []netip.Prefix

func (n Networks) contain(address netip.Addr) bool {
	return slices.ContainsFunc(n, func(p netip.Prefix) bool { return p.Contains(address) })
}

// String returns the networks separated by commas.
func (n Networks) String() string {
	var texts []string
	for _, p := range n {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ",")
}

// Type returns what the help text calls the value.
func (n Networks) Type() string { return "networks" }

// Set adds networks that are separated by commas.
func (n *Networks) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		switch {
		case err != nil, p.Addr().Is4In6():
			return errors.New("want networks such as 2001:db8:42::/56, separated by commas")
		case p != p.Masked():
			return fmt.Errorf("%s is not a network: want %s", p, p.Masked())
		}
		*n = append(*n, p)
	}
	return nil
}
