// Package aesm implements AESM, the protocol by which SGX applications request
// attestation quotes from a daemon on their node: Intel's aesmd, or one built with
// this package. The sources of aesmd define the protocol
// (github.com/intel/linux-sgx, psw/ae/aesm_service).
//
// A Client requests quotes from a daemon:
//
//	var client aesm.Client // connects to DefaultSocket
//	quote, err := client.Quote(ctx, makeReport)
//
// A Server is a daemon. It accepts connections from a Listener and leaves quoting
// to a Handler, a small interface that knows nothing about the protocol.
// Applications keep Intel's client library (libsgx-quote-ex, with SGX_AESM_ADDR
// set) or their own, as Gramine does.
//
// The package builds for every operating system, and so do programs that only use the
// client or the types. Listen and TakeOver need Linux; elsewhere they return an error
// that wraps errors.ErrUnsupported.
//
// # The protocol
//
// A connection to a unix socket carries one request and one reply, each a length
// (little-endian uint32) and a protobuf message. The Server serves the requests of
// ECDSA (DCAP) attestation: GetSupportedAttKeyIDNum, GetSupportedAttKeyIDs,
// SelectAttKeyID, InitQuoteEx, GetQuoteSizeEx and GetQuoteEx. It answers the
// requests for EPID quotes, launch tokens and white lists with
// CodeServiceUnavailable.
//
// # Differences from Intel's daemon
//
// No correct client can observe them.
//
//   - Connections are read concurrently, with deadlines, and their number is
//     bounded. Intel's daemon reads one after another and waits forever.
//   - A request has at most MaxRequestFrame bytes and a quote buffer at most
//     MaxBufferSize, checked before any memory is allocated.
//   - A request followed by bytes that cannot be decoded is malformed as a whole,
//     and the connection is closed without a reply. Intel's daemon answers from the
//     fields before the damage.
//   - A refused GetQuoteEx echoes its qe_report_info only up to 960 bytes, the size
//     of that structure. Intel's daemon echoes any length.
//   - A connection is closed once its client has read the reply, and counts until then;
//     the client sees its end at once. Intel's daemon closes it at once.
//   - A reply is one write. Intel's daemon writes the length separately.
//   - Without any key, GetSupportedAttKeyIDs is refused with
//     CodeServiceUnavailable whatever its buffer size.
//
// Two fields of the messages are not Intel's. Their numbers are from 1000, and Intel's daemon
// and clients ignore fields that they do not know, as do a Client and a Server.
//
//   - A client may ask in InitQuoteEx for a description of what makes the quotes, see
//     Client.DescribeBackend and Backend.
//   - A client may mark a request as a check whether the daemon answers, see Client.Probe and
//     Exchange.Probe.
package aesm
