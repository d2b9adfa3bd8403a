package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/examples/attested-service/exchange"
)

// nonceSize is the size of a nonce in bytes. It is random and used once, so nobody can have
// made a quote with it before.
const nonceSize = 32

// relyingParty gives a secret to a service that runs in an enclave which a policy accepts.
type relyingParty struct {
	service  string // its URL
	client   *http.Client
	verifier *verify.Verifier
	policy   attest.Policy
}

// give gives the service a secret. The result is that of the quote; it may be nil.
func (p *relyingParty) give(ctx context.Context, secret []byte) (*verify.Result, error) {
	nonce := make(challenge.Nonce, nonceSize)
	_, _ = rand.Read(nonce) // it never fails
	var answer exchange.Evidence
	if err := p.post(ctx, exchange.EvidencePath, exchange.Challenge{Nonce: nonce}, &answer); err != nil {
		return nil, err
	}

	// The quote must bind this nonce, and the key that the secret is encrypted for.
	policy, bound := p.policy, challenge.ReportData(nonce, answer.Key)
	policy.ReportData = bound[:]
	result, err := p.verifier.Verify(ctx, answer.Evidence, policy)
	if err != nil {
		return result, err
	}

	sealed, want, err := exchange.Seal(answer.Key, secret)
	if err != nil {
		return result, err
	}
	var receipt exchange.Receipt
	if err := p.post(ctx, exchange.SecretPath, sealed, &receipt); err != nil {
		return result, err
	}
	if !hmac.Equal(receipt.Receipt, want.Receipt) {
		return result, errors.New("the receipt is not that of the enclave")
	}
	return result, nil
}

// post sends a message to the service and reads its answer.
func (p *relyingParty) post(ctx context.Context, path string, message, answer any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(p.service, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s: %q", path, response.Status, bytes.TrimSpace(text))
	}
	if err := exchange.Read(response.Body, answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
