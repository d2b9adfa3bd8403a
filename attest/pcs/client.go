package pcs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// Client gets collateral from a service. Its fields must not be changed once it is
// used; it is safe for concurrent use.
type Client struct {
	// Service is whom to ask; the zero Service is none.
	Service Service
	// Roots are trusted to head the chains of collateral; none is Intel's.
	Roots []attest.Root
	// Update is which TCB info and identity to ask for, "early" or "standard", where
	// the service has both: the early ones know the newest updates.
	Update string
	// Dir, where set, is a directory that keeps what was got. Several processes can
	// use it at once.
	Dir string
	// HTTP sends the requests; nil is http.DefaultClient.
	HTTP *http.Client
	// Timeout bounds each attempt of a request; 0 is 10 seconds.
	Timeout time.Duration
	// Attempts is how often a request is made that fails; 0 is 3.
	Attempts int
	// Progress, where set, is told of each request that was answered, from several
	// goroutines at once.
	Progress func(Step)

	flights singleflight.Group
	memory  memory
	// now and pause are for tests.
	now   func() time.Time
	pause func(context.Context, time.Duration) error
}

// Step is a request that was answered, or did not have to be made.
type Step struct {
	Part string // "the TCB info"
	URL  string
	Kept bool // it was here already
	Err  error
}

// Collateral returns the collateral of a family, which was checked. What is here and
// may still be used is not asked for again.
func (c *Client) Collateral(ctx context.Context, f Family) (*Bundle, error) {
	// Whoever comes while it is being fetched waits for the same, unless he has no
	// more time.
	done := c.flights.DoChan(f.FMSPC+" "+string(f.CA), func() (any, error) {
		return c.collateral(context.WithoutCancel(ctx), f)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("pcs: the collateral from %s: %w", c.Service, ctx.Err())
	case result := <-done:
		bundle, _ := result.Val.(*Bundle)
		return bundle, result.Err
	}
}

func (c *Client) collateral(ctx context.Context, f Family) (*Bundle, error) {
	if c.Service.base == "" {
		return nil, errors.New("pcs: Client.Service is not set: Intel() is Intel's own")
	}
	bundle, kept, err := c.assembleFor(ctx, f, false)
	if err != nil && kept {
		// Parts of different times need not go together, and files may be damaged.
		bundle, _, err = c.assembleFor(ctx, f, true)
	}
	return bundle, err
}

// assembleFor gets the parts, all of them from the service if anew, and tells whether
// one of them was here already.
func (c *Client) assembleFor(ctx context.Context, f Family, anew bool) (bundle *Bundle, kept bool, err error) {
	rootCRL, pckCRL, tcbInfo, qeIdentity := c.Service.parts(f, c.Update)
	parts := []part{rootCRL, pckCRL, tcbInfo, qeIdentity}
	answers := make([]*answer, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range parts {
		group.Go(func() (err error) {
			var old *answer
			if !anew {
				old = c.kept(p)
			}
			answers[i], err = c.get(ctx, p, old)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, false, err
	}
	for _, a := range answers {
		kept = kept || a.kept
	}
	if bundle, err = assemble(answers[0], answers[1], answers[2], answers[3]); err == nil {
		err = c.check(bundle, f)
	}
	if err != nil {
		return nil, kept, fmt.Errorf("pcs: the collateral of %s: %w", c.Service, err)
	}
	for i, p := range parts {
		c.keep(p, answers[i])
	}
	return bundle, kept, nil
}

// assemble makes collateral of the four answers.
func assemble(rootCRL, pckCRL, tcbInfo, qeIdentity *answer) (*Bundle, error) {
	b := &Bundle{Fetched: tcbInfo.Fetched}
	var err error
	if b.RootCRL, err = list(rootCRL.Body); err != nil {
		return nil, fmt.Errorf("the root CRL: %w", err)
	}
	if b.PCKCRL, err = list(pckCRL.Body); err != nil {
		return nil, fmt.Errorf("the PCK CRL: %w", err)
	}
	if b.TCBInfo, b.TCBInfoSignature, err = signed(tcbInfo.Body, "tcbInfo"); err != nil {
		return nil, fmt.Errorf("the TCB info: %w", err)
	}
	if b.QEIdentity, b.QEIdentitySignature, err = signed(qeIdentity.Body, "enclaveIdentity"); err != nil {
		return nil, fmt.Errorf("the QE identity: %w", err)
	}
	b.PCKCRLIssuerChain, b.TCBInfoIssuerChain, b.QEIdentityIssuerChain = pckCRL.Chain, tcbInfo.Chain, qeIdentity.Chain
	if i := strings.LastIndex(b.PCKCRLIssuerChain, "-----BEGIN"); i >= 0 {
		b.Root = b.PCKCRLIssuerChain[i:]
	}
	return b, nil
}

// list returns a revocation list in DER, which services also send in hexadecimal
// (PCCS) or PEM.
func list(body []byte) ([]byte, error) {
	if block, _ := pem.Decode(body); block != nil {
		return block.Bytes, nil
	}
	const sequence = 0x30 // as DER begins, and "0" as text does
	if der, err := hex.DecodeString(string(bytes.TrimSpace(body))); err == nil && len(der) > 0 {
		return der, nil
	}
	if len(body) == 0 || body[0] != sequence {
		return nil, errors.New("it is neither DER nor PEM nor hexadecimal")
	}
	return body, nil
}

// signed returns the text that is signed and its signature, of
// {"tcbInfo":...,"signature":"..."}.
func signed(body []byte, name string) (text string, signature quote.Signature, err error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(body, &parts); err != nil {
		return "", signature, err
	}
	if parts[name] == nil || parts["signature"] == nil {
		return "", signature, fmt.Errorf("there is no %q or no \"signature\"", name)
	}
	return string(parts[name]), signature, json.Unmarshal(parts["signature"], &signature)
}

// check has the collateral checked, and that it is of the family.
func (c *Client) check(b *Bundle, want Family) error {
	roots := c.Roots
	if len(roots) == 0 {
		roots = []attest.Root{attest.IntelRoot()}
	}
	if _, err := attest.NewVerifier(roots...).Check(&b.Collateral, c.time()); err != nil {
		return err
	}
	got, err := b.Family()
	if err == nil && got != want {
		err = fmt.Errorf("it is for the FMSPC %s and the CA %q, not for %s and %q", got.FMSPC, got.CA, want.FMSPC, want.CA)
	}
	return err
}

func (c *Client) time() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}

// chainOf is the issuer chain in an answer's header.
func chainOf(header http.Header, names []string) (string, error) {
	if len(names) == 0 {
		return "", nil
	}
	var encoded string
	for _, name := range names {
		encoded = cmp.Or(encoded, header.Get(name))
	}
	if encoded == "" {
		return "", fmt.Errorf("the answer has no header %s", names[0])
	}
	chain, err := url.PathUnescape(encoded)
	if err != nil {
		return "", fmt.Errorf("the header %s: %w", names[0], err)
	}
	return chain, nil
}
