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
// before them, and reports whether there are any. Those from the cache may not be verified yet. A
// service may be behind, or an attacker may repeat its old responses: what was revoked stays revoked.
func (c *Client) newest(parts [4]part, rs responses) (newest responses, older bool) {
	newest = rs
	for i, p := range parts {
		cached := c.cached(p)
		if cached == nil || !cached.issuedAs(i, rs).After(rs[i].issued) {
			continue
		}
		cached.Expires = rs[i].Expires
		cached.failed = fmt.Errorf("pcs: get %s: the response was issued on %s, before the one in the cache: %s",
			p.url, rs[i].issued.UTC().Format(time.RFC3339), cached.issuedAs(i, rs).UTC().Format(time.RFC3339))
		newest[i], older = cached, true
	}
	return newest, older
}

// issuedAs returns when a response was issued that takes the place of another one; the zero time
// if it cannot be read.
func (r *response) issuedAs(i int, rs responses) time.Time {
	rs[i] = r
	b, err := assemble(rs[0], rs[1], rs[2], rs[3])
	if err != nil {
		return time.Time{}
	}
	dates, err := b.issueDates()
	if err != nil {
		return time.Time{}
	}
	return dates[i]
}
