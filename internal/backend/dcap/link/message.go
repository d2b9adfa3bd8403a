package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// kind is what a message is.
type kind byte

// The kinds of requests, and of the replies to them.
const (
	kindInitialize kind = 1
	kindQuote      kind = 2
	kindChallenge  kind = 3
)

// The kinds of replies that any request may have.
const (
	kindLibraryError kind = 4
	kindFailure      kind = 5
)

// Sizes in bytes.
const (
	headerSize = 4 // the length of what follows
	kindSize   = 1

	challengeSize = aesm.NonceSize + sgx.TargetInfoSize
	identitySize  = sgx.TargetInfoSize + aesm.PublicKeyIDSize + 4
	errorSize     = 4
	maxText       = 1 << 10

	maxRequest = kindSize + sgx.ReportSize + challengeSize
	maxReply   = kindSize + sgx.ReportSize + aesm.MaxQuoteSize
)

// Identity is what a worker's quoting enclave is.
type Identity struct {
	aesm.Initialized
	// QuoteSize is the length of its quotes in bytes.
	QuoteSize int
}

// LibraryError is an error of the quoting library, with what the worker knows about
// its cause.
type LibraryError struct {
	Code quote3.Error
	Text string // which names the code
}

func (e *LibraryError) Error() string { return e.Text }
func (e *LibraryError) Unwrap() error { return e.Code }

// FailureError is a failure of the worker itself, not of the quoting library.
type FailureError struct{ Text string }

func (e *FailureError) Error() string { return "worker: " + e.Text }

// MessageError is a message that breaks the protocol.
type MessageError struct{ Problem string }

func (e *MessageError) Error() string { return "malformed message: " + e.Problem }

func malformed(format string, args ...any) error {
	return &MessageError{fmt.Sprintf(format, args...)}
}

// request is what a worker is asked for.
type request struct {
	kind      kind
	report    sgx.Report     // of kindQuote and kindChallenge
	challenge aesm.Challenge // of kindChallenge
}

// newQuoteRequest returns the request for a quote of report.
func newQuoteRequest(report sgx.Report, challenge *aesm.Challenge) request {
	if challenge == nil {
		return request{kind: kindQuote, report: report}
	}
	return request{kind: kindChallenge, report: report, challenge: *challenge}
}

// reply is the answer to a request: err, or else what the kind of the request
// says.
type reply struct {
	identity Identity
	quoted   aesm.Quoted
	err      error
}

// appendMessage appends a message whose body is appended by body.
func appendMessage(p []byte, k kind, body func([]byte) []byte) []byte {
	start := len(p)
	p = append(p, 0, 0, 0, 0, byte(k))
	p = body(p)
	binary.LittleEndian.PutUint32(p[start:], uint32(len(p)-start-headerSize))
	return p
}

// appendRequest appends the message of r.
func appendRequest(p []byte, r request) []byte {
	return appendMessage(p, r.kind, func(p []byte) []byte {
		if r.kind == kindInitialize {
			return p
		}
		p, _ = r.report.AppendBinary(p) // which never fails, here and below
		if r.kind == kindChallenge {
			p = append(p, r.challenge.Nonce[:]...)
			p, _ = r.challenge.Target.AppendBinary(p)
		}
		return p
	})
}

// parseRequest reads a message without its length.
func parseRequest(message []byte) (request, error) {
	if len(message) < kindSize {
		return request{}, malformed("no kind")
	}
	r := request{kind: kind(message[0])}
	body := message[kindSize:]
	var size int
	switch r.kind {
	case kindInitialize:
	case kindQuote:
		size = sgx.ReportSize
	case kindChallenge:
		size = sgx.ReportSize + challengeSize
	default:
		return request{}, malformed("request of unknown kind %d", r.kind)
	}
	if len(body) != size {
		return request{}, malformed("request of kind %d has %d bytes, want %d", r.kind, len(body), size)
	}
	if r.kind == kindInitialize {
		return r, nil
	}
	if err := r.report.UnmarshalBinary(body[:sgx.ReportSize]); err != nil {
		return request{}, err
	}
	if r.kind == kindChallenge {
		rest := body[sgx.ReportSize:]
		copy(r.challenge.Nonce[:], rest)
		if err := r.challenge.Target.UnmarshalBinary(rest[aesm.NonceSize:]); err != nil {
			return request{}, err
		}
	}
	return r, nil
}

// appendReply appends the message that answers a request of kind k.
func appendReply(p []byte, k kind, r reply) []byte {
	if code, ok := errors.AsType[quote3.Error](r.err); ok && quote3.Known(uint32(code)) {
		return appendMessage(p, kindLibraryError, func(p []byte) []byte {
			p = binary.LittleEndian.AppendUint32(p, uint32(code))
			if r.err == error(code) {
				return p
			}
			return appendText(p, r.err.Error())
		})
	}
	if r.err == nil && k != kindInitialize && len(r.quoted.Quote) > aesm.MaxQuoteSize {
		r.err = fmt.Errorf("the quote has %d bytes, more than %d", len(r.quoted.Quote), aesm.MaxQuoteSize)
	}
	if r.err != nil {
		return appendMessage(p, kindFailure, func(p []byte) []byte { return appendText(p, r.err.Error()) })
	}
	return appendMessage(p, k, func(p []byte) []byte {
		switch k {
		case kindInitialize:
			p, _ = r.identity.TargetInfo.AppendBinary(p)
			p = append(p, r.identity.PublicKeyID[:]...)
			return binary.LittleEndian.AppendUint32(p, uint32(r.identity.QuoteSize))
		case kindChallenge:
			p, _ = r.quoted.QEReport.AppendBinary(p)
		}
		return append(p, r.quoted.Quote...)
	})
}

// appendText appends as much of a text as is allowed.
func appendText(p []byte, text string) []byte { return append(p, text[:min(len(text), maxText)]...) }

// parseReply reads a message without its length, which answers a request of kind k.
// The error is that of the reply, or a *MessageError.
func parseReply(k kind, message []byte) (reply, error) {
	if len(message) < kindSize {
		return reply{}, malformed("no kind")
	}
	got, body := kind(message[0]), message[kindSize:]
	switch got {
	case kindLibraryError:
		if len(body) < errorSize || len(body) > errorSize+maxText {
			return reply{}, malformed("library error of %d bytes, want %d to %d", len(body), errorSize, errorSize+maxText)
		}
		number, text := binary.LittleEndian.Uint32(body), string(body[errorSize:])
		if !quote3.Known(number) {
			return reply{}, malformed("error code %#x is not a quote3_error_t", number)
		}
		if text == "" {
			return reply{}, quote3.Error(number)
		}
		return reply{}, &LibraryError{quote3.Error(number), text}
	case kindFailure:
		if len(body) > maxText {
			return reply{}, malformed("text of %d bytes, more than %d", len(body), maxText)
		}
		return reply{}, &FailureError{string(body)}
	case k:
	default:
		return reply{}, malformed("reply of kind %d to a request of kind %d", got, k)
	}

	var r reply
	if k == kindInitialize {
		return r, r.identity.unmarshal(body)
	}
	if k == kindChallenge {
		if len(body) < sgx.ReportSize {
			return reply{}, malformed("%d bytes, less than a report", len(body))
		}
		if err := r.quoted.QEReport.UnmarshalBinary(body[:sgx.ReportSize]); err != nil {
			return reply{}, err
		}
		body = body[sgx.ReportSize:]
	}
	if len(body) == 0 || len(body) > aesm.MaxQuoteSize {
		return reply{}, malformed("quote of %d bytes, want 1 to %d", len(body), aesm.MaxQuoteSize)
	}
	r.quoted.Quote = body
	return r, nil
}

// unmarshal reads the body of the reply to kindInitialize.
func (i *Identity) unmarshal(body []byte) error {
	if len(body) != identitySize {
		return malformed("identity of %d bytes, want %d", len(body), identitySize)
	}
	if err := i.TargetInfo.UnmarshalBinary(body[:sgx.TargetInfoSize]); err != nil {
		return err
	}
	rest := body[sgx.TargetInfoSize:]
	copy(i.PublicKeyID[:], rest)
	size := binary.LittleEndian.Uint32(rest[aesm.PublicKeyIDSize:])
	if size == 0 || size > aesm.MaxQuoteSize {
		return malformed("quote size of %d bytes, want 1 to %d", size, aesm.MaxQuoteSize)
	}
	i.QuoteSize = int(size)
	return nil
}

// readMessage reads a message of at most limit bytes, and returns it without its
// length. The error is io.EOF where there is no further message, and
// io.ErrUnexpectedEOF where it is not whole.
func readMessage(r io.Reader, limit int) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(header[:])
	if int64(size) > int64(limit) {
		return nil, malformed("%d bytes, more than %d", size, limit)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(r, message); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return message, nil
}
