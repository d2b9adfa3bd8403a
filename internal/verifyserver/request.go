package verifyserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"

	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/internal/strictjson"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// These bound the body of a request, in bytes. A quote in JSON is smaller than maxBody, evidence
// with the log of what a trust domain has measured may be larger. Bodies between the two are
// bounded in number, in all and for each client, as all of them are in memory.
const (
	maxBody                = 64 << 10
	maxLargeBody           = 512 << 10
	maxLarge, maxLargeEach = 32, 8
	// maxStreams and maxStreamsEach bound the requests that share a connection with others.
	maxStreams, maxStreamsEach = 256, 64
	// maxCertificates bounds the certificates of a request, and those in a quote that has the PCK
	// certificate alone, in bytes. They are in memory, unverified, while others are fetched. A
	// genuine chain has 4 KiB.
	maxCertificates = 16 << 10
)

// request is the body of a request in JSON. The other form is a quote alone, in any of the
// forms of package evidence: some are JSON, which is never taken for a request, because what
// they call report data is no requirement.
type request struct {
	Quote []byte `json:"quote"` // base64 of any of the forms
	// ReportData is what the report data must begin with, in hex; zeros must follow. The
	// requirement of the policy, if it has one, holds as well.
	ReportData quote.HexBytes `json:"reportData"`
	// Nonce is one that the service has issued, and Data is what the enclave or trust domain
	// has bound to it. Together they are another form of ReportData.
	Nonce challenge.Nonce `json:"nonce"`
	Data  []byte          `json:"data"`
	// Certificates are those that the quote lacks, in PEM: the PCK certificate, or also those of
	// the CA and of the root.
	Certificates string `json:"certificates"`
}

// received is a request as it was received.
type received struct {
	mediaType string
	body      []byte
	giveBack  func() // ends the share of a large body; it may be called again
}

// read receives a request. It does nothing that takes the processor long.
func (s *Service) read(w http.ResponseWriter, r *http.Request, client netip.Addr) (received, error) {
	if r.URL.RawQuery != "" {
		return received{}, fmt.Errorf("unknown query parameters %.40q: send a JSON object to require report data", r.URL.RawQuery)
	}
	giveBack := func() {}
	if r.ContentLength > maxBody && r.ContentLength <= maxLargeBody {
		var ok bool
		if giveBack, ok = s.large.take(client); !ok {
			return received{}, &problem{http.StatusServiceUnavailable, fmt.Errorf("too many requests of more than %d bytes at once: try again, or send only the quote", maxBody)}
		}
	}
	body, mediaType, err := readBody(w, r)
	if err != nil {
		giveBack()
		return received{}, err
	}
	return received{mediaType, body, giveBack}, nil
}

// decode returns what a request asks for.
func (r received) decode() (request, error) {
	if r.mediaType != mediaTypeJSON {
		return request{Quote: r.body}, nil
	}
	var asked request
	if err := strictjson.Unmarshal(r.body, &asked); err != nil {
		if unknown, ok := errors.AsType[*strictjson.UnknownMemberError](err); ok && unknown.Similar == "" {
			return request{}, fmt.Errorf("decode request: %w: send evidence that is a JSON object itself as %s", err, mediaTypeBytes)
		}
		return request{}, fmt.Errorf("decode request: %w", err)
	}
	switch n := len(asked.ReportData); {
	case asked.ReportData != nil && asked.Nonce != nil:
		return request{}, errors.New("reportData and nonce: send one of them: the nonce and data say what the report data must be")
	case asked.Data != nil && asked.Nonce == nil:
		return request{}, errors.New("data: there is no nonce to which it is bound: send the nonce, or reportData")
	case len(asked.Quote) == 0:
		return request{}, errors.New("quote: missing or empty")
	case len(asked.Certificates) > maxCertificates:
		return request{}, fmt.Errorf("certificates: %d bytes, at most %d are allowed: send those of the platform, the CA and the root", len(asked.Certificates), maxCertificates)
	case asked.ReportData != nil && n == 0:
		return request{}, errors.New("reportData: empty: leave it out to require nothing")
	case n > len(sgx.ReportData{}):
		return request{}, fmt.Errorf("reportData: %d bytes, at most %d are allowed", n, len(sgx.ReportData{}))
	}
	return asked, nil
}

// certificates returns the certificates of a request, for a quote that lacks some.
func (r request) certificates(q *quote.Quote) (verify.Certificates, error) {
	switch data := q.Signature.CertificationData; {
	case data.Type == quote.PCKLeaf && len(data.Data) > maxCertificates:
		return nil, fmt.Errorf("the quote has a %s of %d bytes, at most %d are allowed", data.Type, len(data.Data), maxCertificates)
	case data.Type == quote.PCKChain && r.Certificates != "":
		return nil, errors.New("certificates: the quote has its own: leave them out")
	}
	own, err := quote.ParseCertificates([]byte(r.Certificates))
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return own, nil
}

// readBody reads a body, and returns it with its media type. It grows no buffers if the size
// is known, as many bodies may be received at a time; without that, a body cannot be large.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, mediaType string, err error) {
	switch size := r.ContentLength; {
	case size > maxLargeBody:
		err = fmt.Errorf("request body of %d bytes, at most %d are read: send only the quote", size, maxLargeBody)
		return nil, "", &problem{http.StatusRequestEntityTooLarge, err}
	case size >= 0:
		body = make([]byte, size)
		_, err = io.ReadFull(r.Body, body)
	default:
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = fmt.Errorf("request body larger than %d bytes: send Content-Length, or only the quote", tooLarge.Limit)
		return nil, "", &problem{http.StatusRequestEntityTooLarge, err}
	}
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("read request: %w", err)
	case len(body) == 0:
		return nil, "", errors.New("the request has no body: send a quote")
	}
	if mediaType, err = mediaTypeOf(r.Header.Get("Content-Type"), body); err != nil {
		return nil, "", &problem{http.StatusUnsupportedMediaType, err}
	}
	return body, mediaType, nil
}

const (
	mediaTypeBytes = "application/octet-stream"
	mediaTypeJSON  = "application/json"
)

// mediaTypeOf returns the media type of a request by its Content-Type. Without one, the
// first byte decides: what begins like a JSON object is a request.
func mediaTypeOf(contentType string, body []byte) (string, error) {
	if contentType == "" {
		if bytes.HasPrefix(body, []byte("{")) {
			return mediaTypeJSON, nil
		}
		return mediaTypeBytes, nil
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != mediaTypeBytes && mediaType != mediaTypeJSON {
		return "", fmt.Errorf("unsupported Content-Type %q: use %s for a quote in any form, or %s for a request", contentType, mediaTypeBytes, mediaTypeJSON)
	}
	return mediaType, nil
}
