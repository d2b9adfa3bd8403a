package aesm

import "fmt"

// Drop is why a connection was closed without a reply.
type Drop uint8

// The reasons. Malformed requests get no reply: none could be of the right type,
// and clients crash on one of the wrong type.
const (
	NotDropped    Drop = iota // a reply was written
	DropProbe                 // the peer closed before it sent a whole header, as health checks do: harmless
	DropIdle                  // no byte arrived within IdleTimeout
	DropEvicted               // closed before its request was served, to make room for another connection
	DropRefused               // its peer's connections or memory are all in use by complete requests, and stay so
	DropSlow                  // the request was not complete within ReadTimeout
	DropTruncated             // the peer closed in the middle of the request
	DropTooLarge              // the header announced more than MaxRequestFrame bytes
	DropMalformed             // the bytes are not a known request
	DropWrite                 // writing the reply failed: the client did not wait for it
	DropStopped               // the server stopped
	DropAccept                // no connection at all: accept failed, and will be retried
)

var dropNames = [...]string{
	NotDropped:    "none",
	DropProbe:     "probe",
	DropIdle:      "idle",
	DropEvicted:   "evicted",
	DropRefused:   "refused",
	DropSlow:      "slow",
	DropTruncated: "truncated",
	DropTooLarge:  "too_large",
	DropMalformed: "malformed",
	DropWrite:     "write",
	DropStopped:   "stopped",
	DropAccept:    "accept",
}

// String returns one word for labels, for example "malformed".
func (d Drop) String() string {
	if int(d) < len(dropNames) {
		return dropNames[d]
	}
	return fmt.Sprintf("Drop(%d)", uint8(d))
}
