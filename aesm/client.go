package aesm

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Client requests quotes from an AESM daemon. The zero Client uses the daemon of this
// node. It opens a connection for each request, and may be used from many goroutines
// at once.
//
// The errors of its methods are an *Error if the daemon refused the request, a
// *TransportError if the request or its reply did not arrive, and a *ProtocolError if
// the reply violates the protocol.
type Client struct {
	// Socket is the path of the daemon's socket; empty means DefaultSocket.
	Socket string
	// Timeout bounds one request and its reply, in addition to the deadline of the
	// context; 0 means 15 seconds, as Intel's client waits.
	Timeout time.Duration
	// DescribeBackend has InitQuote ask for a description of what makes the quotes, which
	// daemons other than confcom's do not give.
	DescribeBackend bool
	// Probe marks the requests as those of a check whether the daemon answers, which a
	// Server reports as Exchange.Probe. Other daemons ignore the mark.
	Probe bool
	// Dial, where set, connects to the daemon instead of Socket, which then only
	// names the daemon in errors.
	Dial func(ctx context.Context) (net.Conn, error)
}

// SupportedKeyIDs returns the attestation keys of the daemon.
func (c *Client) SupportedKeyIDs(ctx context.Context) ([]KeyID, error) {
	op := KindGetSupportedAttKeyIDNum
	res, err := c.call(ctx, op, &message.Request{GetSupportedAttKeyIdNum: &message.GetSupportedAttKeyIDNumRequest{}})
	if err != nil {
		return nil, err
	}
	num := res.GetSupportedAttKeyIdNum.GetAttKeyIdNum()
	if num > maxReplyFrame/KeyIDSize {
		return nil, c.badReply(op, "it announces %d keys", num)
	}
	size := num * KeyIDSize

	op = KindGetSupportedAttKeyIDs
	res, err = c.call(ctx, op, &message.Request{GetSupportedAttKeyIds: &message.GetSupportedAttKeyIDsRequest{BufSize: &size}})
	if err != nil {
		return nil, err
	}
	ids := res.GetSupportedAttKeyIds.AttKeyIds
	if len(ids) != int(size) {
		return nil, c.badReply(op, "%d bytes for %d key IDs", len(ids), num)
	}
	keys := make([]KeyID, 0, num)
	for id := range slices.Chunk(ids, KeyIDSize) {
		keys = append(keys, KeyID(id))
	}
	return keys, nil
}

// SelectKeyID lets the daemon choose one of the acceptable keys, of which there may
// be 10, in order of preference. Without any, it returns the daemon's default key.
func (c *Client) SelectKeyID(ctx context.Context, acceptable ...KeyID) (KeyID, error) {
	const op = KindSelectAttKeyID
	req := new(message.SelectAttKeyIDRequest)
	if len(acceptable) > 0 {
		list := binary.LittleEndian.AppendUint32(make([]byte, offKeyListNum), uint32(len(acceptable)))
		for _, k := range acceptable {
			list = append(list, k[:]...)
		}
		req.AttKeyIdList = list
	}
	res, err := c.call(ctx, op, &message.Request{SelectAttKeyId: req})
	if err != nil {
		return KeyID{}, err
	}
	id := res.SelectAttKeyId.SelectedAttKeyId
	if len(id) != KeyIDSize {
		return KeyID{}, c.badReply(op, "a key ID of %d bytes", len(id))
	}
	key := KeyID(id)
	offered := func(k KeyID) bool { return k.Base() == key.Base() }
	if len(acceptable) > 0 && !slices.ContainsFunc(acceptable, offered) {
		return KeyID{}, c.badReply(op, "a key that was not offered, %s", key)
	}
	return key, nil
}

// InitQuote makes a key ready to quote. Reports must be made for the target info that
// it returns.
func (c *Client) InitQuote(ctx context.Context, key KeyID) (Initialized, error) {
	// As every client does, first request the size of the public key ID.
	res, err := c.initQuote(ctx, &message.InitQuoteExRequest{AttKeyId: key[:], BPubKeyId: proto.Bool(false)})
	if err != nil {
		return Initialized{}, err
	}
	size := res.GetPubKeyIdSize()
	if size != PublicKeyIDSize {
		return Initialized{}, c.badReply(KindInitQuoteEx, "a public key ID of %d bytes, not %d", size, PublicKeyIDSize)
	}
	req := &message.InitQuoteExRequest{AttKeyId: key[:], BPubKeyId: proto.Bool(true), BufSize: &size}
	if c.DescribeBackend {
		req.DescribeBackend = proto.Bool(true)
	}
	res, err = c.initQuote(ctx, req)
	if err != nil {
		return Initialized{}, err
	}
	var ready Initialized
	if err := ready.TargetInfo.UnmarshalBinary(res.TargetInfo); err != nil {
		return Initialized{}, c.badReply(KindInitQuoteEx, "%v", err)
	}
	if len(res.PubKeyId) != PublicKeyIDSize {
		return Initialized{}, c.badReply(KindInitQuoteEx, "a public key ID of %d bytes, not %d", len(res.PubKeyId), PublicKeyIDSize)
	}
	ready.PublicKeyID = [PublicKeyIDSize]byte(res.PubKeyId)
	var ok bool
	if ready.Backend, ok = parseBackend(res.Backend); !ok {
		return Initialized{}, c.badReply(KindInitQuoteEx, "a malformed description of the backend")
	}
	return ready, nil
}

func (c *Client) initQuote(ctx context.Context, req *message.InitQuoteExRequest) (*message.InitQuoteExResponse, error) {
	res, err := c.call(ctx, KindInitQuoteEx, &message.Request{InitQuoteEx: req})
	if err != nil {
		return nil, err
	}
	return res.InitQuoteEx, nil
}

// QuoteSize returns the length of the next quote in bytes.
func (c *Client) QuoteSize(ctx context.Context, key KeyID) (int, error) {
	const op = KindGetQuoteSizeEx
	res, err := c.call(ctx, op, &message.Request{GetQuoteSizeEx: &message.GetQuoteSizeExRequest{AttKeyId: key[:]}})
	if err != nil {
		return 0, err
	}
	size := res.GetQuoteSizeEx.GetQuoteSize()
	if size < quote.OffsetSignatureData || size > MaxQuoteSize {
		return 0, c.badReply(op, "a quote of %d bytes", size)
	}
	return int(size), nil
}

// GetQuote returns a quote of report. The key must be initialized, and the quote must
// fit into size bytes; FitQuote finds the size. With a challenge, GetQuote also
// returns the report of the quoting enclave, which the challenging enclave has to
// verify.
func (c *Client) GetQuote(ctx context.Context, key KeyID, report sgx.Report, size int, challenge *Challenge) (Quoted, error) {
	const op = KindGetQuoteEx
	room := uint32(min(max(size, 0), MaxBufferSize))
	req := &message.GetQuoteExRequest{AttKeyId: key[:], BufSize: &room}
	req.Report, _ = report.MarshalBinary()
	if challenge != nil {
		req.QeReportInfo, _ = QEReportInfo{Challenge: *challenge}.MarshalBinary()
	}
	res, err := c.call(ctx, op, &message.Request{GetQuoteEx: req})
	if err != nil {
		return Quoted{}, err
	}

	data := res.GetQuoteEx.Quote
	if len(data) > int(room) {
		return Quoted{}, c.badReply(op, "a quote of %d bytes in a buffer of %d", len(data), room)
	}
	trimmed, err := quote.Trim(data)
	if err != nil {
		return Quoted{}, c.badReply(op, "%v", err)
	}
	quoted := Quoted{Quote: trimmed}
	if challenge != nil {
		var info QEReportInfo
		if err := info.UnmarshalBinary(res.GetQuoteEx.QeReportInfo); err != nil {
			return Quoted{}, c.badReply(op, "%v", err)
		}
		quoted.QEReport = info.Report
	}
	return quoted, nil
}
