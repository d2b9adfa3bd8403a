package aesm

import (
	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
)

// refusal returns the reply with an error code, of the type that matches the request
// and with the fields that Intel's daemon sends along with an error.
func refusal(req *request, c Code) *message.Response {
	code, zero := proto.Uint32(uint32(c)), proto.Uint32(0)
	res := new(message.Response)
	switch req.kind {
	case KindGetSupportedAttKeyIDNum:
		res.GetSupportedAttKeyIdNum = &message.GetSupportedAttKeyIDNumResponse{ErrorCode: code, AttKeyIdNum: zero}
	case KindGetSupportedAttKeyIDs:
		res.GetSupportedAttKeyIds = &message.GetSupportedAttKeyIDsResponse{ErrorCode: code}
	case KindSelectAttKeyID:
		res.SelectAttKeyId = &message.SelectAttKeyIDResponse{ErrorCode: code}
	case KindInitQuoteEx:
		size := uint64(0)
		if req.incomplete == nil {
			size = req.InitQuoteEx.GetBufSize()
		}
		res.InitQuoteEx = &message.InitQuoteExResponse{ErrorCode: code, PubKeyIdSize: &size}
	case KindGetQuoteSizeEx:
		res.GetQuoteSizeEx = &message.GetQuoteSizeExResponse{ErrorCode: code, QuoteSize: zero}
	case KindGetQuoteEx:
		res.GetQuoteEx = &message.GetQuoteExResponse{ErrorCode: code}
		if info := req.GetQuoteEx.QeReportInfo; len(info) > 0 && len(info) <= QEReportInfoSize && req.incomplete == nil {
			res.GetQuoteEx.QeReportInfo = info
		}

	case KindInitQuote:
		res.InitQuote = &message.InitQuoteResponse{ErrorCode: code}
	case KindGetQuote:
		res.GetQuote = &message.GetQuoteResponse{ErrorCode: code}
	case KindGetLaunchToken:
		res.GetLaunchToken = &message.GetLaunchTokenResponse{ErrorCode: code}
	case KindReportError:
		res.ReportError = &message.ReportErrorResponse{ErrorCode: code}
	case KindGetWhiteListSize:
		res.GetWhiteListSize = &message.GetWhiteListSizeResponse{ErrorCode: code, WhiteListSize: zero}
	case KindGetWhiteList:
		res.GetWhiteList = &message.GetWhiteListResponse{ErrorCode: code}
	case KindGetExtendedEPIDGroupID:
		res.GetExtendedEpidGroupId = &message.GetExtendedEPIDGroupIDResponse{ErrorCode: code, XGroupId: zero}
	case KindSwitchExtendedEPIDGroup:
		res.SwitchExtendedEpidGroup = &message.SwitchExtendedEPIDGroupResponse{ErrorCode: code}
	case KindRegister:
		res.Register = &message.RegisterResponse{ErrorCode: code}
	case KindCheckUpdateStatus:
		res.CheckUpdateStatus = &message.CheckUpdateStatusResponse{ErrorCode: code, Status: zero}
	}
	return res
}
