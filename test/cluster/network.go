package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// addNetwork creates the bridge of node and pods, with the addresses of the API server
// and of the node, which is the gateway of the pods. It needs neither packet forwarding
// nor iptables, since pods reach only this machine and each other.
func addNetwork() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	// A bridge without its own hardware address takes that of a port, and pods would
	// lose their gateway when other pods start or end.
	attrs.HardwareAddr = net.HardwareAddr{0x02, 'c', 'o', 'n', 'f', 0x01}
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add the interface %s: %w", bridgeName, err)
	}
	for _, address := range []string{nodeIP + "/24", serviceIP + "/32"} {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return fmt.Errorf("parse the address %s: %w", address, err)
		}
		if err := netlink.AddrAdd(bridge, parsed); err != nil {
			return fmt.Errorf("add the address %s to %s: %w", address, bridgeName, err)
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set the interface %s up: %w", bridgeName, err)
	}
	return nil
}

// removeNetwork removes the bridge and the pods' interfaces on it.
func removeNetwork() error {
	bridge, err := netlink.LinkByName(bridgeName)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	} else if err != nil {
		return fmt.Errorf("find the interface %s: %w", bridgeName, err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list the network interfaces: %w", err)
	}
	for _, link := range links {
		if link.Attrs().MasterIndex != bridge.Attrs().Index {
			continue
		}
		// The kernel may already be removing it with the pod's namespace.
		if err := netlink.LinkDel(link); err != nil {
			if _, err := netlink.LinkByIndex(link.Attrs().Index); err == nil {
				return fmt.Errorf("remove the interface %s: it still exists", link.Attrs().Name)
			}
		}
	}
	if err := netlink.LinkDel(bridge); err != nil {
		return fmt.Errorf("remove the interface %s: %w", bridgeName, err)
	}
	return nil
}
