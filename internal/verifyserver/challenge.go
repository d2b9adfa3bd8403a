package verifyserver

import (
	"fmt"
	"net/http"
	"time"

	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/quote"
)

// Challenge is the answer to a request for a nonce.
type Challenge struct {
	Nonce   challenge.Nonce `json:"nonce"`
	Expires time.Time       `json:"expires"`
}

// challenge answers with a nonce.
func (s *Service) challenge(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		s.answer(w, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf("unknown query parameters %.40q", r.URL.RawQuery)})
		return
	}
	issuer, now := s.Challenges(), time.Now().Truncate(time.Second)
	s.answer(w, http.StatusOK, Challenge{issuer.Issue(now), now.Add(issuer.Lifetime()).UTC()})
}

// required returns the report data that a request requires, or nil. It checks the nonce.
func (s *Service) required(asked request) (quote.HexBytes, error) {
	if asked.Nonce == nil {
		return asked.ReportData, nil
	}
	if err := s.Challenges().Check(asked.Nonce, time.Now()); err != nil {
		return nil, fmt.Errorf("nonce: %w at /v1/challenge", err)
	}
	reportData := challenge.ReportData(asked.Nonce, asked.Data)
	return reportData[:], nil
}
