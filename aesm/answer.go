package aesm

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
	"github.com/confcom/confcom/sgx"
)

// PanicError is the Err of an Exchange whose Handler panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("aesm: the handler panicked: %v", e.Value) }

// answer makes the reply to a request. It always makes one; err is the cause of its
// code. The memory of the quote in the reply is from replies.
func answer(ctx context.Context, caller Caller, h Handler, req *request, replies *buffers) (res *message.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		if err != nil {
			res = refusal(req, codeOf(err))
		}
	}()
	if req.incomplete != nil {
		return nil, req.incomplete
	}
	res = new(message.Response)
	switch req.kind {
	case KindGetSupportedAttKeyIDNum:
		res.GetSupportedAttKeyIdNum, err = answerKeyNum(ctx, h)
	case KindGetSupportedAttKeyIDs:
		res.GetSupportedAttKeyIds, err = answerKeyIDs(ctx, h, req.GetSupportedAttKeyIds)
	case KindSelectAttKeyID:
		res.SelectAttKeyId, err = answerSelect(ctx, h, req.SelectAttKeyId)
	case KindInitQuoteEx:
		res.InitQuoteEx, err = answerInit(ctx, caller, h, req.InitQuoteEx)
	case KindGetQuoteSizeEx:
		res.GetQuoteSizeEx, err = answerSize(ctx, h, req.GetQuoteSizeEx)
	case KindGetQuoteEx:
		res.GetQuoteEx, err = answerQuote(ctx, caller, h, req, replies)
	case KindRegister:
		if t := req.Register.GetDataType(); t != 0 {
			return nil, fmt.Errorf("data type %d is unknown: %w", t, CodeParameter)
		}
		fallthrough
	default:
		err = fmt.Errorf("%s is not served: %w", req.kind, CodeServiceUnavailable)
	}
	return res, err
}

func answerKeyNum(ctx context.Context, h Handler) (*message.GetSupportedAttKeyIDNumResponse, error) {
	keys, err := availableKeys(ctx, h)
	if err != nil {
		return nil, err
	}
	return &message.GetSupportedAttKeyIDNumResponse{ErrorCode: success(), AttKeyIdNum: proto.Uint32(uint32(len(keys)))}, nil
}

func answerKeyIDs(ctx context.Context, h Handler, req *message.GetSupportedAttKeyIDsRequest) (*message.GetSupportedAttKeyIDsResponse, error) {
	keys, err := availableKeys(ctx, h)
	if err != nil {
		return nil, err
	}
	ids := make([]byte, 0, len(keys)*KeyIDSize)
	for _, k := range keys {
		ids = append(ids, k[:]...)
	}
	if got := req.GetBufSize(); uint64(got) != uint64(len(ids)) {
		return nil, fmt.Errorf("the buffer has %d bytes, the key IDs have %d: %w", got, len(ids), CodeParameter)
	}
	return &message.GetSupportedAttKeyIDsResponse{ErrorCode: success(), AttKeyIds: ids}, nil
}

// availableKeys is KeyIDs, but no key at all is an error.
func availableKeys(ctx context.Context, h Handler) ([]KeyID, error) {
	keys, err := h.KeyIDs(ctx)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("no attestation key: %w", CodeServiceUnavailable)
	}
	return keys, err
}

// The key list of a SelectAttKeyID request (sgx_ql_att_key_id_list_header_t): ID
// and version, both zero, the number of keys, and the keys.
const (
	keyListHeaderSize = 8
	offKeyListNum     = 4
	maxKeyListNum     = 10
)

func answerSelect(ctx context.Context, h Handler, req *message.SelectAttKeyIDRequest) (*message.SelectAttKeyIDResponse, error) {
	var wanted []KeyID
	if req.AttKeyIdList != nil {
		var err error
		if wanted, err = parseKeyList(req.AttKeyIdList); err != nil {
			return nil, err
		}
	}
	keys, err := h.KeyIDs(ctx)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no attestation key: %w", CodeUnsupportedAttKeyID)
	}
	selected := keys[0]
	if wanted != nil {
		matched := slices.DeleteFunc(wanted, func(w KeyID) bool {
			return !slices.ContainsFunc(keys, func(k KeyID) bool { return k.Base() == w.Base() })
		})
		if len(matched) == 0 {
			return nil, fmt.Errorf("none of the keys in the list is supported: %w", CodeUnsupportedAttKeyID)
		}
		// A key of the default algorithm wins, then the order of the list. The reply
		// is the client's own entry, including what follows the base.
		i := slices.IndexFunc(matched, func(w KeyID) bool { return w.Algorithm() == keys[0].Algorithm() })
		selected = matched[max(i, 0)]
	}
	return &message.SelectAttKeyIDResponse{ErrorCode: success(), SelectedAttKeyId: selected[:]}, nil
}

func parseKeyList(b []byte) ([]KeyID, error) {
	if len(b) < keyListHeaderSize+KeyIDSize {
		return nil, fmt.Errorf("the key list has only %d bytes: %w", len(b), CodeParameter)
	}
	if binary.LittleEndian.Uint32(b) != 0 {
		return nil, fmt.Errorf("the key list has an unknown ID or version: %w", CodeParameter)
	}
	num := binary.LittleEndian.Uint32(b[offKeyListNum:])
	if num > maxKeyListNum || len(b) != keyListHeaderSize+int(num)*KeyIDSize {
		return nil, fmt.Errorf("the key list has %d bytes and %d keys: %w", len(b), num, CodeParameter)
	}
	keys := make([]KeyID, 0, num)
	for id := range slices.Chunk(b[keyListHeaderSize:], KeyIDSize) {
		keys = append(keys, KeyID(id))
	}
	return keys, nil
}

// findKey returns the service's key with the ID of a request.
func findKey(ctx context.Context, h Handler, id []byte) (KeyID, error) {
	if len(id) < KeyIDSize {
		return KeyID{}, fmt.Errorf("the key ID has only %d bytes: %w", len(id), CodeParameter)
	}
	keys, err := h.KeyIDs(ctx)
	if err != nil {
		return KeyID{}, err
	}
	wanted := KeyID(id[:KeyIDSize])
	i := slices.IndexFunc(keys, func(k KeyID) bool { return k.Base() == wanted.Base() })
	if i < 0 {
		return KeyID{}, fmt.Errorf("unknown key, %s: %w", wanted, CodeUnsupportedAttKeyID)
	}
	return keys[i], nil
}

func answerInit(ctx context.Context, caller Caller, h Handler, req *message.InitQuoteExRequest) (*message.InitQuoteExResponse, error) {
	key, err := findKey(ctx, h, req.AttKeyId)
	if err != nil {
		return nil, err
	}
	res := &message.InitQuoteExResponse{ErrorCode: success(), PubKeyIdSize: proto.Uint64(PublicKeyIDSize)}
	if !req.GetBPubKeyId() {
		// A request for the size. Its buf_size is ignored: libsgx_dcap_ql sends
		// uninitialized memory there.
		res.TargetInfo = make([]byte, sgx.TargetInfoSize)
		return res, nil
	}
	if size := req.GetBufSize(); size != PublicKeyIDSize {
		return nil, fmt.Errorf("the buffer has %d bytes, the public key ID has %d: %w", size, PublicKeyIDSize, CodeParameter)
	}
	ready, err := h.InitQuote(ctx, caller, key)
	if err != nil {
		return nil, err
	}
	res.TargetInfo, _ = ready.TargetInfo.MarshalBinary()
	res.PubKeyId = ready.PublicKeyID[:]
	if req.GetDescribeBackend() {
		res.Backend = ready.Backend.message()
	}
	return res, nil
}

func answerSize(ctx context.Context, h Handler, req *message.GetQuoteSizeExRequest) (*message.GetQuoteSizeExResponse, error) {
	key, err := findKey(ctx, h, req.AttKeyId)
	if err != nil {
		return nil, err
	}
	size, err := sizeOfQuote(ctx, h, key)
	if err != nil {
		return nil, err
	}
	return &message.GetQuoteSizeExResponse{ErrorCode: success(), QuoteSize: proto.Uint32(uint32(size))}, nil
}

func sizeOfQuote(ctx context.Context, h Handler, key KeyID) (int, error) {
	size, err := h.QuoteSize(ctx, key)
	if err == nil && (size <= 0 || size > MaxQuoteSize) {
		err = fmt.Errorf("aesm: the handler announced a quote of %d bytes", size)
	}
	return size, err
}

func answerQuote(ctx context.Context, caller Caller, h Handler, r *request, replies *buffers) (*message.GetQuoteExResponse, error) {
	req := r.GetQuoteEx
	key, err := findKey(ctx, h, req.AttKeyId)
	if err != nil {
		return nil, err
	}
	report := new(sgx.Report)
	if err := report.UnmarshalBinary(req.Report); err != nil {
		return nil, fmt.Errorf("%w: %w", err, CodeParameter)
	}
	r.report = report
	var challenge *Challenge
	if req.QeReportInfo != nil {
		var info QEReportInfo
		if err := info.UnmarshalBinary(req.QeReportInfo); err != nil {
			return nil, fmt.Errorf("%w: %w", err, CodeParameter)
		}
		challenge = &info.Challenge
	}
	room := int64(req.GetBufSize())
	if room == 0 || room > MaxBufferSize {
		return nil, fmt.Errorf("a quote buffer of %d bytes, the limit is %d: %w", room, MaxBufferSize, CodeParameter)
	}
	// Key, buffer, report: Intel's daemon checks in the same order.
	size, err := sizeOfQuote(ctx, h, key)
	if err != nil {
		return nil, err
	}
	if int64(size) > room {
		return nil, fmt.Errorf("the buffer has %d bytes, the quote has %d: %w", room, size, CodeParameter)
	}
	quoted, err := h.Quote(ctx, caller, key, *report, challenge)
	if err != nil {
		return nil, err
	}
	if n := len(quoted.Quote); n == 0 {
		return nil, fmt.Errorf("aesm: the handler returned no quote")
	} else if int64(n) > room {
		return nil, fmt.Errorf("the buffer has %d bytes, the quote has grown to %d: %w", room, n, CodeParameter)
	}
	padded := replies.sized(int(room))
	clear(padded[copy(padded, quoted.Quote):])
	res := &message.GetQuoteExResponse{ErrorCode: success(), Quote: padded}
	if challenge != nil {
		res.QeReportInfo, _ = QEReportInfo{*challenge, quoted.QEReport}.MarshalBinary()
	}
	return res, nil
}

// success returns CodeSuccess, which must be explicit: the default code is a failure.
func success() *uint32 { return proto.Uint32(uint32(CodeSuccess)) }
