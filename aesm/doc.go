// Package aesm speaks AESM, the protocol by which SGX applications get
// attestation quotes from a daemon on their node: Intel's aesmd, or one made
// with this package.
//
// A Client asks a daemon for quotes:
//
//	var client aesm.Client // of the daemon at DefaultSocket
//	quote, err := client.Quote(ctx, makeReport)
//
// A Server is a daemon. It listens with Listen and leaves the quoting to a
// Handler, a small interface without any knowledge of the protocol. Applications
// keep Intel's client library (libsgx-quote-ex, with SGX_AESM_ADDR set) or their
// own, as Gramine has.
//
// # The protocol
//
// A connection to a unix socket carries one request and one reply, each a length
// (little-endian uint32) and a protobuf message. Served are the requests of
// ECDSA (DCAP) attestation: GetSupportedAttKeyIDNum, GetSupportedAttKeyIDs,
// SelectAttKeyID, InitQuoteEx, GetQuoteSizeEx and GetQuoteEx. The requests for
// EPID quotes, launch tokens and white lists are answered with
// CodeServiceUnavailable.
//
// # Differences from Intel's daemon
//
// No correct client sees them.
//
//   - Connections are read at the same time, with deadlines, and their number is
//     bounded. Intel's reads one after another and waits for ever.
//   - A request has at most MaxRequestFrame bytes and a quote buffer at most
//     MaxQuoteSize, checked before any memory is taken.
//   - A request with bytes behind it that cannot be decoded is malformed as a
//     whole, and the connection is closed without a reply. Intel's daemon answers
//     from the fields before the damage.
//   - A refused GetQuoteEx echoes its qe_report_info only up to the 960 bytes that
//     one has. Intel's daemon echoes any length.
//   - A reply is one write. Intel's writes the length apart.
//   - Without any key, GetSupportedAttKeyIDs is refused with
//     CodeServiceUnavailable whatever its buffer size.
package aesm
