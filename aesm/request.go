package aesm

import (
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/confcom/confcom/aesm/internal/message"
)

var errUnknownRequest = errors.New("aesm: the message is none of the known requests")

// parseRequest decodes a request. Required fields may be missing: that has a
// reply of its own.
func parseRequest(body []byte) (*message.Request, Kind, error) {
	req := new(message.Request)
	if err := (proto.UnmarshalOptions{AllowPartial: true, DiscardUnknown: true}).Unmarshal(body, req); err != nil {
		return nil, 0, err
	}
	for _, kind := range dispatchOrder() {
		if _, ok := field(req, kind); ok {
			return req, kind, nil
		}
	}
	return nil, 0, errUnknownRequest
}

// dispatchOrder is the order in which Intel's daemon looks for the request in a
// message that carries several.
func dispatchOrder() []Kind {
	return []Kind{
		KindGetLaunchToken, KindInitQuote, KindGetQuote, KindReportError, KindCheckUpdateStatus,
		KindGetWhiteListSize, KindGetWhiteList, KindGetExtendedEPIDGroupID, KindSwitchExtendedEPIDGroup, KindRegister,
		KindInitQuoteEx, KindGetQuoteSizeEx, KindGetQuoteEx, KindSelectAttKeyID,
		KindGetSupportedAttKeyIDNum, KindGetSupportedAttKeyIDs,
	}
}

// field returns the message of a kind in a request or in a response, and
// whether it is there.
func field(m proto.Message, kind Kind) (protoreflect.Message, bool) {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByNumber(protoreflect.FieldNumber(kind))
	if fd == nil || !r.Has(fd) {
		return nil, false
	}
	return r.Get(fd).Message(), true
}

// complete tells whether the request of this kind has all its required fields.
func complete(req *message.Request, kind Kind) error {
	m, _ := field(req, kind)
	return proto.CheckInitialized(m.Interface())
}
