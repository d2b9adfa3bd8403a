package dcap

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// session is what the holder of a lease has of a worker.
type session struct {
	process  *process
	place    int
	timeout  time.Duration // of a request
	identity link.Identity
	failures int       // consecutive failures
	asked    time.Time // when the last request was sent
}

// initialize has the worker initialize its key. It may have another target and
// another quote size afterwards.
func (s *session) initialize(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.asked = time.Now()
	identity, err := s.process.client.Initialize(ctx)
	if err == nil {
		s.identity = identity
	}
	return err
}

// quote asks for a quote, and checks that it is one of report.
func (s *session) quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.asked = time.Now()
	quoted, err := s.process.client.Quote(ctx, report, challenge)
	if err != nil {
		return aesm.Quoted{}, err
	}
	quoted.Quote, err = checkQuote(quoted.Quote, report)
	return quoted, err
}

var errOtherReport = errors.New("the quote is of another report")

// checkQuote checks that data begins with a quote of report, and returns the quote
// without what follows it. It does not parse the quote: one of a newer processor, with
// bytes that quote.Parse refuses, is for verifiers to refuse.
func checkQuote(data []byte, report sgx.Report) ([]byte, error) {
	trimmed, err := quote.Trim(data)
	if err != nil {
		return nil, err
	}
	body, err := report.Body.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(trimmed[quote.OffsetReportBody:quote.OffsetSignatureDataLen], body) {
		return nil, errOtherReport
	}
	return trimmed, nil
}

// isOverdue reports whether the worker has had the time that a request may take.
func (s *session) isOverdue() bool { return time.Since(s.asked) >= s.timeout }
