package pcs

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/confcom/confcom/quote"
)

// assemble returns the collateral in the four responses.
func assemble(rootCRL, pckCRL, tcbInfo, qeIdentity *response) (*Bundle, error) {
	b := &Bundle{Fetched: tcbInfo.Fetched}
	var err error
	if b.RootCRL, err = crlDER(rootCRL.Body); err != nil {
		return nil, fmt.Errorf("the root CRL: %w", err)
	}
	if b.PCKCRL, err = crlDER(pckCRL.Body); err != nil {
		return nil, fmt.Errorf("the PCK CRL: %w", err)
	}
	if b.TCBInfo, b.TCBInfoSignature, err = signedText(tcbInfo.Body, "tcbInfo"); err != nil {
		return nil, fmt.Errorf("the TCB info: %w", err)
	}
	if b.QEIdentity, b.QEIdentitySignature, err = signedText(qeIdentity.Body, "enclaveIdentity"); err != nil {
		return nil, fmt.Errorf("the QE identity: %w", err)
	}
	b.PCKCRLIssuerChain, b.TCBInfoIssuerChain, b.QEIdentityIssuerChain = pckCRL.Chain, tcbInfo.Chain, qeIdentity.Chain
	if i := strings.LastIndex(b.PCKCRLIssuerChain, "-----BEGIN"); i >= 0 {
		b.Root = b.PCKCRLIssuerChain[i:]
	}
	return b, nil
}

// crlDER returns a CRL in DER. Services also send it in hexadecimal (PCCS) or PEM.
func crlDER(body []byte) ([]byte, error) {
	if block, _ := pem.Decode(body); block != nil {
		return block.Bytes, nil
	}
	const sequence = 0x30 // the first byte of DER, and of hexadecimal DER
	if der, err := hex.DecodeString(string(bytes.TrimSpace(body))); err == nil && len(der) > 0 {
		return der, nil
	}
	if len(body) == 0 || body[0] != sequence {
		return nil, errors.New("neither DER nor PEM nor hexadecimal")
	}
	return body, nil
}

// signedText returns the signed text and its signature in {"tcbInfo":...,"signature":"..."}.
func signedText(body []byte, name string) (text string, signature quote.Signature, err error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(body, &parts); err != nil {
		return "", signature, err
	}
	if parts[name] == nil || parts["signature"] == nil {
		return "", signature, fmt.Errorf("%q or \"signature\" is missing", name)
	}
	return string(parts[name]), signature, json.Unmarshal(parts["signature"], &signature)
}

// chainOf returns the issuer chain in a response header, which is percent-encoded.
func chainOf(header http.Header, names []string) (string, error) {
	if len(names) == 0 {
		return "", nil
	}
	var encoded string
	for _, name := range names {
		encoded = cmp.Or(encoded, header.Get(name))
	}
	if encoded == "" {
		return "", fmt.Errorf("the response has no header %s", names[0])
	}
	if len(encoded) > maxHeader {
		return "", fmt.Errorf("header %s has more than %d KiB", names[0], maxHeader>>10)
	}
	chain, err := url.PathUnescape(encoded)
	if err != nil {
		return "", fmt.Errorf("header %s: %w", names[0], err)
	}
	return chain, nil
}
