package aesm

import (
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/confcom/confcom/aesm/internal/message"
	"github.com/confcom/confcom/sgx"
)

var errUnknownRequest = errors.New("aesm: the message is none of the known requests")

// request is a decoded request.
type request struct {
	message.Request
	kind Kind
	// incomplete is an error if required fields are missing. The request still gets
	// a reply.
	incomplete error
	// report is the report that a quote is requested for, set once it is parsed.
	report *sgx.Report
}

// parseRequest decodes a request.
func parseRequest(body []byte) (*request, error) {
	req := new(request)
	opts := proto.UnmarshalOptions{DiscardUnknown: true}
	if err := opts.Unmarshal(body, &req.Request); err != nil {
		opts.AllowPartial = true
		if err := opts.Unmarshal(body, &req.Request); err != nil {
			return nil, err
		}
	}
	req.kind = kindOf(&req.Request)
	if req.kind == 0 {
		return nil, errUnknownRequest
	}
	if opts.AllowPartial {
		m, _ := field(&req.Request, req.kind)
		req.incomplete = proto.CheckInitialized(m.Interface())
	}
	return req, nil
}

// kindOf returns the kind of request that a message carries, 0 if it is unknown. If
// the message carries several, it is the one that Intel's daemon looks for first.
func kindOf(req *message.Request) Kind {
	switch {
	case req.GetLaunchToken != nil:
		return KindGetLaunchToken
	case req.InitQuote != nil:
		return KindInitQuote
	case req.GetQuote != nil:
		return KindGetQuote
	case req.ReportError != nil:
		return KindReportError
	case req.CheckUpdateStatus != nil:
		return KindCheckUpdateStatus
	case req.GetWhiteListSize != nil:
		return KindGetWhiteListSize
	case req.GetWhiteList != nil:
		return KindGetWhiteList
	case req.GetExtendedEpidGroupId != nil:
		return KindGetExtendedEPIDGroupID
	case req.SwitchExtendedEpidGroup != nil:
		return KindSwitchExtendedEPIDGroup
	case req.Register != nil:
		return KindRegister
	case req.InitQuoteEx != nil:
		return KindInitQuoteEx
	case req.GetQuoteSizeEx != nil:
		return KindGetQuoteSizeEx
	case req.GetQuoteEx != nil:
		return KindGetQuoteEx
	case req.SelectAttKeyId != nil:
		return KindSelectAttKeyID
	case req.GetSupportedAttKeyIdNum != nil:
		return KindGetSupportedAttKeyIDNum
	case req.GetSupportedAttKeyIds != nil:
		return KindGetSupportedAttKeyIDs
	}
	return 0
}

// field returns the message of a kind in a request or response, and whether it is
// set.
func field(m proto.Message, kind Kind) (protoreflect.Message, bool) {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByNumber(protoreflect.FieldNumber(kind))
	if fd == nil || !r.Has(fd) {
		return nil, false
	}
	return r.Get(fd).Message(), true
}
