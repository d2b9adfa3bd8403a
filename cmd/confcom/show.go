package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// page writes rows of a name and a value, one below the other.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, text)
	}
}

func (p *page) row(name, format string, args ...any) {
	p.line(fmt.Sprintf("%-16s  ", name) + fmt.Sprintf(format, args...))
}

// text is a row whose value may be long: it goes on below itself.
func (p *page) text(name, value string) {
	const width = 62 // and the name make 80 columns
	var line string
	for word := range strings.FieldsSeq(value) {
		if line != "" && len(line)+1+len(word) > width {
			p.row(name, "%s", line)
			name, line = "", ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	p.row(name, "%s", line)
}

// showQuote writes a quote for people.
func showQuote(w io.Writer, q *quote.Quote, size int) error {
	p := &page{w: w}
	h, s := q.Header, q.Signature
	p.row("quote", "%s, version %d, %s, %d bytes", h.TEE, h.Version, h.KeyType, size)
	p.row("QE vendor", "%s", vendor(h.VendorID))
	p.row("user data", "%s", h.UserData)
	if h.Version == quote.Version3 {
		p.row("QE, PCE SVN", "%d, %d", h.QESVN, h.PCESVN)
	}
	p.line("")
	if q.Enclave != nil {
		p.line("enclave")
		showEnclave(p, q.Enclave)
	} else {
		p.row("trust domain", "%s", q.BodyType)
		showTD(p, q.TD)
	}
	p.line("")
	p.line("quoting enclave")
	showEnclave(p, &s.QEReport)
	p.row("  auth data", "%s", s.QEAuthData)
	p.line("")
	p.row("certification", "%s, %d bytes", s.CertificationData.Type, len(s.CertificationData.Data))
	if chain, err := s.CertificationData.Certificates(); err == nil {
		for _, c := range chain {
			p.row("  certificate", "%q", c.Subject.CommonName)
		}
	}
	if id, err := s.CertificationData.PlatformID(); err == nil {
		p.row("  CPUSVN, PCE SVN", "%s, %d", id.CPUSVN, id.PCESVN)
	}
	return p.err
}

func vendor(v quote.VendorID) string {
	if v == quote.IntelVendorID() {
		return v.String() + " (Intel)"
	}
	return v.String()
}

func showEnclave(p *page, b *sgx.ReportBody) {
	p.row("  MRENCLAVE", "%s", b.MREnclave)
	p.row("  MRSIGNER", "%s", b.MRSigner)
	p.row("  product, SVN", "%d, %d", b.ISVProdID, b.ISVSVN)
	p.row("  attributes", "%s", b.Attributes)
	p.row("  CPUSVN", "%s", b.CPUSVN)
	p.row("  report data", "%s", b.ReportData)
}

func showTD(p *page, td *tdx.ReportBody) {
	p.row("  MRTD", "%s", td.MRTD)
	for i, m := range td.RTMR {
		p.row(fmt.Sprintf("  RTMR%d", i), "%s", m)
	}
	p.row("  MRSEAM", "%s", td.MRSEAM)
	p.row("  TD attributes", "%s", td.TDAttributes)
	p.row("  XFAM", "%s", td.XFAM)
	p.row("  TEE TCB SVN", "%s", td.TEETCBSVN)
	p.row("  report data", "%s", td.ReportData)
}

// showResult writes a verdict for people, step by step.
func showResult(w io.Writer, r *attest.Result) error {
	if err := showSteps(w, r); err != nil {
		return err
	}
	colour := green
	verdict := "TRUSTED until " + r.Expires.UTC().Format(time.RFC3339) + ", unless something is revoked before"
	switch {
	case errors.Is(r.Err(), attest.ErrIncomplete):
		verdict, colour = "INCOMPLETE: nothing is wrong, but not all could be checked (--collateral)", plain
	case !r.Trusted:
		verdict, colour = "NOT TRUSTED", red
	}
	_, err := fmt.Fprintln(w, marker(w)(verdict, colour))
	return err
}

// showSteps writes what was checked, and what was not.
func showSteps(w io.Writer, r *attest.Result) error {
	mark := marker(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		state := mark("ok", green)
		if !c.Passed {
			state = mark("FAILED", red)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", state, c.Name, c.Detail)
	}
	for _, name := range r.NotChecked {
		fmt.Fprintf(t, "%s\tnot checked\t%s\n", mark("-", plain), name)
	}
	return t.Flush()
}

// Colours of a terminal (ECMA-48, SGR). All have the same length, which tables rely on.
const (
	plain = "00"
	red   = "31"
	green = "32"
)

// marker colours words where w is a terminal whose user has nothing against colours.
func marker(w io.Writer) func(word, colour string) string {
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" {
		return func(word, _ string) string { return word }
	}
	return func(word, colour string) string { return "\x1b[" + colour + "m" + word + "\x1b[00m" }
}
