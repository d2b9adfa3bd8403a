//go:build !linux

package aesm

import "net"

// hungUp is false: only Linux reports a hang-up without reading.
func hungUp(net.Conn) bool { return false }
