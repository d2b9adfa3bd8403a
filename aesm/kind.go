package aesm

import "fmt"

// Kind is the kind of a request: the number of its field in the request message.
type Kind uint8

// The kinds of requests. The server answers the EPID and launch requests with
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

var kindNames = [...]string{
	0:                           "none",
	KindInitQuote:               "InitQuote",
	KindGetQuote:                "GetQuote",
	KindGetLaunchToken:          "GetLaunchToken",
	KindReportError:             "ReportError",
	KindGetWhiteListSize:        "GetWhiteListSize",
	KindGetWhiteList:            "GetWhiteList",
	KindGetExtendedEPIDGroupID:  "GetExtendedEPIDGroupID",
	KindSwitchExtendedEPIDGroup: "SwitchExtendedEPIDGroup",
	KindRegister:                "Register",
	KindInitQuoteEx:             "InitQuoteEx",
	KindGetQuoteSizeEx:          "GetQuoteSizeEx",
	KindGetQuoteEx:              "GetQuoteEx",
	KindCheckUpdateStatus:       "CheckUpdateStatus",
	KindSelectAttKeyID:          "SelectAttKeyID",
	KindGetSupportedAttKeyIDNum: "GetSupportedAttKeyIDNum",
	KindGetSupportedAttKeyIDs:   "GetSupportedAttKeyIDs",
}

// String returns the name of the request, for example GetQuoteEx, and "none" for 0.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}
