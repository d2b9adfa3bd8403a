package attesttest

import (
	"crypto/x509"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// Case is a quote with its collateral, in which at most one thing is wrong, and what a
// verifier must find.
type Case struct {
	Name string
	// Enclave is the report body in the quote, unless TD is not nil.
	Enclave sgx.ReportBody
	// TD is the report body in the quote of a trust domain; nil for an enclave.
	TD *tdx.ReportBody
	// Policy is the appraisal policy to verify the case with.
	Policy attest.Policy
	// At is the time of verification.
	At time.Time
	// Failed are all checks of attest.Verifier that fail, in the order of the proof. It is
	// empty for a valid case.
	Failed []attest.CheckName
	// Detail is a part of the detail of one of them; it may be empty.
	Detail string

	prepare func(*Issuer)                                         // before anything is signed
	tamper  func(*quote.Quote, *attest.Collateral)                // after everything is signed
	forge   func(*Issuer, *quote.Quote, *attest.Collateral) error // the same, where more is signed
}

// Issue returns the quote and its collateral. Every call returns the same bytes.
func (c Case) Issue() (*quote.Quote, *attest.Collateral, error) {
	newIssuer := NewIssuer
	if c.TD != nil {
		newIssuer = NewTDXIssuer
	}
	i, err := newIssuer("node-1", Today())
	if err != nil {
		return nil, nil, err
	}
	if c.prepare != nil {
		c.prepare(i)
	}
	var q *quote.Quote
	if c.TD != nil {
		q, err = i.QuoteTD(*c.TD)
	} else {
		q, err = i.Quote(c.Enclave)
	}
	if err != nil {
		return nil, nil, err
	}
	collateral, err := i.Collateral()
	if err != nil {
		return nil, nil, err
	}
	if c.tamper != nil {
		c.tamper(q, collateral)
	}
	if c.forge != nil {
		err = c.forge(i, q, collateral)
	}
	return q, collateral, err
}

// Today returns the day on which the quotes and collateral of all cases are issued.
func Today() time.Time { return day(2026, time.June, 1) }

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func newIssuer() (*Issuer, error) { return NewIssuer("node-1", Today()) }

// revoke puts the serial number of a certificate into a CRL.
func revoke(crl *x509.RevocationList, a Authority) {
	crl.RevokedCertificateEntries = append(crl.RevokedCertificateEntries,
		x509.RevocationListEntry{SerialNumber: a.Template.SerialNumber, RevocationTime: day(2026, time.May, 1)})
}

// forged returns collateral of an issuer with the same names, of which prepare has changed a
// key. In case of an error it is empty.
func forged(prepare func(*Issuer)) (*attest.Collateral, error) {
	i, err := newIssuer()
	if err != nil {
		return new(attest.Collateral), err
	}
	prepare(i)
	c, err := i.Collateral()
	if err != nil {
		return new(attest.Collateral), err
	}
	return c, nil
}

// selfIssued returns collateral that is signed by a forger's key, whose certificate has the
// right names but is issued by the forger as well.
func selfIssued() (*attest.Collateral, error) {
	var forger Issuer
	c, err := forged(func(i *Issuer) {
		i.TCBSigner.Key = i.forger
		forger = *i
	})
	if err != nil {
		return c, err
	}
	root := Authority{Template: forger.Root.Template, Key: forger.forger}
	certificate, err := root.Issue(forger.TCBSigner)
	if err != nil {
		return c, err
	}
	c.TCBInfoIssuerChain = encodePEM(certificate)
	return c, nil
}

// reorder puts the certificates of a quote's chain in another order.
func reorder(order ...int) func(*Issuer, *quote.Quote, *attest.Collateral) error {
	return func(_ *Issuer, q *quote.Quote, _ *attest.Collateral) error {
		chain, err := q.Signature.CertificationData.Certificates()
		if err == nil {
			q.Signature.CertificationData = quote.NewPCKChain(chain[order[0]], chain[order[1]], chain[order[2]])
		}
		return err
	}
}
