package verifyserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/confcom/confcom/internal/strictjson"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// maxBody bounds the body of a request, in bytes. A quote in JSON is smaller.
const maxBody = 64 << 10

// request is the body of a request in JSON. The other form is the bytes of a quote.
type request struct {
	Quote []byte `json:"quote"` // base64
	// ReportData is what the report data must begin with, in hex; zeros must follow. The
	// requirement of the policy, if it has one, holds as well.
	ReportData quote.HexBytes `json:"reportData"`
}

// read reads a request. It does nothing that takes the processor long.
func read(w http.ResponseWriter, r *http.Request) (request, error) {
	if r.URL.RawQuery != "" {
		return request{}, fmt.Errorf("unknown query parameters %.40q: send a JSON object to require report data", r.URL.RawQuery)
	}
	body, err := readBody(w, r)
	if err != nil {
		return request{}, err
	}
	mediaType, err := mediaTypeOf(r.Header.Get("Content-Type"), body)
	if err != nil {
		return request{}, &problem{http.StatusUnsupportedMediaType, err}
	}
	if mediaType != mediaTypeJSON {
		return request{Quote: body}, nil
	}
	var asked request
	if err := strictjson.Unmarshal(body, &asked); err != nil {
		return request{}, fmt.Errorf("decode request: %w", err)
	}
	switch n := len(asked.ReportData); {
	case len(asked.Quote) == 0:
		return request{}, errors.New("quote: missing or empty")
	case asked.ReportData != nil && n == 0:
		return request{}, errors.New("reportData: empty: leave it out to require nothing")
	case n > len(sgx.ReportData{}):
		return request{}, fmt.Errorf("reportData: %d bytes, at most %d are allowed", n, len(sgx.ReportData{}))
	}
	return asked, nil
}

// readBody reads a body without growing buffers, as many may be received at a time.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, err error) {
	switch size := r.ContentLength; {
	case size > maxBody:
		err = &http.MaxBytesError{Limit: maxBody}
	case size >= 0:
		body = make([]byte, size)
		_, err = io.ReadFull(r.Body, body)
	default:
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &problem{http.StatusRequestEntityTooLarge, fmt.Errorf("request body larger than %d bytes: not a quote", tooLarge.Limit)}
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return body, nil
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
