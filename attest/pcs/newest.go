package pcs

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"
)

// issueDates returns when the parts of a verified bundle were issued, in the order of responses.
func (b *Bundle) issueDates() (dates [4]time.Time, err error) {
	for i, der := range [][]byte{b.RootCRL, b.PCKCRL} {
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			return dates, fmt.Errorf("pcs: parse CRL: %w", err)
		}
		dates[i] = crl.ThisUpdate
	}
	for i, text := range []string{b.TCBInfo, b.QEIdentity} {
		var issued struct {
			Date time.Time `json:"issueDate"`
		}
		if err := json.Unmarshal([]byte(text), &issued); err != nil {
			return dates, fmt.Errorf("pcs: parse issue date: %w", err)
		}
		dates[2+i] = issued.Date
	}
	return dates, nil
}

// newest returns responses, with those in the cache in place of verified ones that were issued
// before them, and reports whether there are any. A service may be behind, or an attacker may
// repeat its old responses: what was revoked stays revoked.
func (c *Client) newest(parts [4]part, rs responses) (newest responses, older bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest = rs
	for i, p := range parts {
		known := c.parts[p.url]
		if known == nil || known.response == nil || !known.response.issued.After(rs[i].issued) {
			continue
		}
		again := *known.response
		again.Expires = rs[i].Expires
		again.kept = true
		again.failed = fmt.Errorf("pcs: get %s: the response was issued on %s, before the one in the cache: %s",
			p.url, rs[i].issued.UTC().Format(time.RFC3339), again.issued.UTC().Format(time.RFC3339))
		newest[i], older = &again, true
	}
	return newest, older
}
