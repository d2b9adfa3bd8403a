package verifyserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// maxBody bounds the body of a request, in bytes. A quote in JSON is smaller.
const maxBody = 64 << 10

// request is the body of a request in JSON. The other form is the bytes of a quote.
type request struct {
	Quote []byte `json:"quote"` // base64
	// ReportData is what the report data must begin with, in hex. It replaces that of
	// the policy; zeros must follow.
	ReportData quote.HexBytes `json:"reportData"`
}

// read returns the quote of a request, and the report data that the request expects, nil
// if it expects none.
func read(w http.ResponseWriter, r *http.Request) (*quote.Quote, []byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, nil, &problem{http.StatusRequestEntityTooLarge, fmt.Errorf("request body larger than %d bytes: not a quote", tooLarge.Limit)}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read request: %w", err)
	}
	mediaType, err := mediaTypeOf(r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, nil, &problem{http.StatusUnsupportedMediaType, err}
	}
	asked := request{Quote: body}
	if mediaType == mediaTypeJSON {
		asked = request{}
		if err := json.Unmarshal(body, &asked); err != nil {
			return nil, nil, fmt.Errorf("decode request: %w", err)
		}
		if len(asked.ReportData) > len(sgx.ReportData{}) {
			return nil, nil, fmt.Errorf("reportData: %d bytes, at most %d are allowed", len(asked.ReportData), len(sgx.ReportData{}))
		}
	}
	q, err := quote.Parse(asked.Quote)
	return q, asked.ReportData, err
}

const (
	mediaTypeBytes = "application/octet-stream"
	mediaTypeJSON  = "application/json"
)

// mediaTypeOf returns the media type of a request by its Content-Type. Without one, the
// first byte decides: no quote begins like a JSON object.
func mediaTypeOf(contentType string, body []byte) (string, error) {
	if contentType == "" {
		if bytes.HasPrefix(body, []byte("{")) {
			return mediaTypeJSON, nil
		}
		return mediaTypeBytes, nil
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != mediaTypeBytes && mediaType != mediaTypeJSON {
		return "", fmt.Errorf("unsupported Content-Type %q: use %s or %s", contentType, mediaTypeBytes, mediaTypeJSON)
	}
	return mediaType, nil
}
