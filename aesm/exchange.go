package aesm

import (
	"fmt"
	"time"

	"github.com/confcom/confcom/sgx"
)

// Exchange tells how a connection to a Server went.
type Exchange struct {
	// Peer is what Server.Identify returned for the connection.
	Peer Peer
	// Kind is what was asked, 0 where no request was understood.
	Kind Kind
	// Code is what was answered. It means nothing on a dropped connection.
	Code Code
	// Err is what lies behind Code or Drop, nil where all went well.
	Err error
	// Drop says why there was no reply, NotDropped where there was one.
	Drop Drop
	// Report is what a quote was asked of, nil where none was. Who made it was not
	// checked unless a quote was made.
	Report *sgx.Report
	// Duration is the time from the first byte of the request, or from accept
	// where none came, to the end.
	Duration time.Duration
}

// Kind is the kind of a request: the number of its field on the wire.
type Kind uint8

// The kinds of requests. The EPID and launch requests are answered with
// CodeServiceUnavailable.
const (
	KindInitQuote               Kind = 1
	KindGetQuote                Kind = 2
	KindGetLaunchToken          Kind = 3
	KindReportError             Kind = 4
	KindGetWhiteListSize        Kind = 10
	KindGetWhiteList            Kind = 11
	KindGetExtendedEPIDGroupID  Kind = 12
	KindSwitchExtendedEPIDGroup Kind = 13
	KindRegister                Kind = 14
	KindInitQuoteEx             Kind = 15
	KindGetQuoteSizeEx          Kind = 16
	KindGetQuoteEx              Kind = 17
	KindCheckUpdateStatus       Kind = 18
	KindSelectAttKeyID          Kind = 19
	KindGetSupportedAttKeyIDNum Kind = 21
	KindGetSupportedAttKeyIDs   Kind = 22
)

// String returns the name of the request, for example GetQuoteEx.
func (k Kind) String() string {
	switch k {
	case 0:
		return "none"
	case KindInitQuote:
		return "InitQuote"
	case KindGetQuote:
		return "GetQuote"
	case KindGetLaunchToken:
		return "GetLaunchToken"
	case KindReportError:
		return "ReportError"
	case KindGetWhiteListSize:
		return "GetWhiteListSize"
	case KindGetWhiteList:
		return "GetWhiteList"
	case KindGetExtendedEPIDGroupID:
		return "GetExtendedEPIDGroupID"
	case KindSwitchExtendedEPIDGroup:
		return "SwitchExtendedEPIDGroup"
	case KindRegister:
		return "Register"
	case KindInitQuoteEx:
		return "InitQuoteEx"
	case KindGetQuoteSizeEx:
		return "GetQuoteSizeEx"
	case KindGetQuoteEx:
		return "GetQuoteEx"
	case KindCheckUpdateStatus:
		return "CheckUpdateStatus"
	case KindSelectAttKeyID:
		return "SelectAttKeyID"
	case KindGetSupportedAttKeyIDNum:
		return "GetSupportedAttKeyIDNum"
	case KindGetSupportedAttKeyIDs:
		return "GetSupportedAttKeyIDs"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Drop is why a connection was closed without a reply.
type Drop uint8

// The reasons. Malformed requests get no reply since none could be of the right
// type, and clients crash on one of the wrong type.
const (
	NotDropped    Drop = iota // a reply was written
	DropProbe                 // the peer closed before it sent a whole header, as health checks do: harmless
	DropIdle                  // no byte came within IdleTimeout
	DropEvicted               // closed before its request was whole, to make room for another connection
	DropRefused               // its peer has as many connections or as much memory as it may, for requests that are here
	DropSlow                  // the request was not complete within ReadTimeout
	DropTruncated             // the peer closed in the middle of the request
	DropTooLarge              // the header announced more than MaxRequestFrame bytes
	DropMalformed             // the bytes are no request that is known
	DropWrite                 // the reply could not be written: the client did not wait for it
	DropStopped               // the server stopped
	DropAccept                // no connection at all: accept failed, and is tried again
)

// String returns one word for labels, for example "malformed".
func (d Drop) String() string {
	switch d {
	case NotDropped:
		return "none"
	case DropProbe:
		return "probe"
	case DropIdle:
		return "idle"
	case DropEvicted:
		return "evicted"
	case DropRefused:
		return "refused"
	case DropSlow:
		return "slow"
	case DropTruncated:
		return "truncated"
	case DropTooLarge:
		return "too_large"
	case DropMalformed:
		return "malformed"
	case DropWrite:
		return "write"
	case DropStopped:
		return "stopped"
	case DropAccept:
		return "accept"
	}
	return fmt.Sprintf("Drop(%d)", uint8(d))
}
