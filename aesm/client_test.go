package aesm

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/sgx"
)

func testReport() sgx.Report { return sgx.Report{KeyID: sgx.KeyID{1, 2, 3}} }

func makeTestReport(context.Context, sgx.TargetInfo) (sgx.Report, error) { return testReport(), nil }

func TestClient(t *testing.T) {
	h := newStub()
	h.keys = append(h.keys, ECDSAKeyID(sgx.Measurement{0xee}))
	h.ready = Initialized{TargetInfo: sgx.TargetInfo{MREnclave: sgx.Measurement{7}}, PublicKeyID: [32]byte{9}}
	h.qeReport = sgx.Report{MAC: sgx.MAC{5}}
	path, _ := start(t, &Server{Handler: h})
	c, ctx := &Client{Socket: path}, t.Context()

	keys, err := c.SupportedKeyIDs(ctx)
	if err != nil || !cmp.Equal(keys, h.keys) {
		t.Errorf("SupportedKeyIDs: %v, %v", keys, err)
	}
	key, err := c.SelectKeyID(ctx)
	if err != nil || key != h.keys[0] {
		t.Errorf("SelectKeyID of the default: %v, %v", key, err)
	}
	key, err = c.SelectKeyID(ctx, ECDSAKeyID(sgx.Measurement{1}), h.keys[1])
	if err != nil || key != h.keys[1] {
		t.Errorf("SelectKeyID: %v, %v", key, err)
	}
	ready, err := c.InitQuote(ctx, key)
	if err != nil || ready != h.ready {
		t.Errorf("InitQuote: %+v, %v", ready, err)
	}
	size, err := c.QuoteSize(ctx, key)
	if err != nil || size != len(h.quote) {
		t.Errorf("QuoteSize: %d, %v", size, err)
	}
	challenge := &Challenge{Nonce: [NonceSize]byte{4}, Target: sgx.TargetInfo{ConfigSVN: 6}}
	mine := key
	mine[KeyIDSize-1] = 1 // after the base: the handler still gets its own key
	quoted, err := c.GetQuote(ctx, mine, testReport(), size+100, challenge)
	if err != nil || !cmp.Equal(quoted.Quote, h.quote) || quoted.QEReport != h.qeReport {
		t.Errorf("GetQuote: %+v, %v", quoted, err)
	}
	if h.key != key || h.challenge == nil || *h.challenge != *challenge {
		t.Errorf("the handler got %s, %+v", h.key, h.challenge)
	}
	quote, err := c.Quote(ctx, func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
		if target != h.ready.TargetInfo {
			t.Errorf("makeReport got %+v", target)
		}
		return testReport(), nil
	})
	if err != nil || !cmp.Equal(quote, h.quote) {
		t.Errorf("Quote: %d bytes, %v", len(quote), err)
	}
	if _, err := c.Quote(ctx, func(context.Context, sgx.TargetInfo) (sgx.Report, error) { return sgx.Report{}, errStub }); err != errStub {
		t.Errorf("got %v, want the error of makeReport", err)
	}
}

// A server reports which requests are probes. A request for a quote never is one.
func TestProbe(t *testing.T) {
	path, seen := start(t, &Server{Handler: newStub()})
	for _, probe := range []bool{true, false} {
		c, ctx := &Client{Socket: path, Probe: probe}, t.Context()
		keys, err := c.SupportedKeyIDs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.InitQuote(ctx, keys[0])
		size, sizeErr := c.QuoteSize(ctx, keys[0])
		_, quoteErr := c.GetQuote(ctx, keys[0], testReport(), size, nil)
		if err := errors.Join(err, sizeErr, quoteErr); err != nil {
			t.Error(err)
		}
		for range 6 {
			if e := <-seen; e.Probe != (probe && e.Kind != KindGetQuoteEx) {
				t.Errorf("client with Probe %t, exchange %+v", probe, e)
			}
		}
	}
}

// changing is a Handler whose state changes between requests.
type changing struct {
	*stub
	mu     sync.Mutex
	lost   int   // how many quotes fail, each until the key is initialized again
	inits  int   // counts
	sizes  []int // of the next calls of QuoteSize; the last one repeats
	quotes int   // counts
}

func (c *changing) InitQuote(context.Context, Caller, KeyID) (Initialized, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inits++
	return Initialized{TargetInfo: sgx.TargetInfo{ConfigSVN: uint16(c.inits)}}, nil
}

func (c *changing) QuoteSize(context.Context, KeyID) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sizes) == 0 {
		return len(c.quote), nil
	}
	size := c.sizes[0]
	if len(c.sizes) > 1 {
		c.sizes = c.sizes[1:]
	}
	return size, nil
}

func (c *changing) Quote(_ context.Context, _ Caller, _ KeyID, report sgx.Report, _ *Challenge) (Quoted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quotes++
	if c.quotes <= c.lost {
		return Quoted{}, CodeAttKeyNotInitialized
	}
	if report.Body.ConfigSVN != uint16(c.inits) {
		return Quoted{}, CodeInvalidReport
	}
	return Quoted{Quote: c.quote}, nil
}

func TestQuoteRecovers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		h      *changing
		inits  int
		quotes int
		want   error
	}{
		{"at once", &changing{}, 1, 1, nil},
		{"from a lost key", &changing{lost: 1}, 2, 2, nil},
		{"from a key lost four times", &changing{lost: 4}, 5, 5, nil},
		{"not from a key lost again and again", &changing{lost: 100}, 5, 5, CodeAttKeyNotInitialized},
		// The first two sizes are for the client and for the server's check of the first
		// quote.
		{"from a quote that grew", &changing{sizes: []int{900, 1000}}, 1, 1, nil},
		{"not from one that grows again and again", &changing{sizes: []int{900, 950, 950, 1000}}, 1, 0, CodeParameter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.h.stub = newStub()
			path, _ := start(t, &Server{Handler: tt.h})
			quote, err := (&Client{Socket: path}).Quote(t.Context(), func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
				// The report shows the target info that it was made for.
				return sgx.Report{Body: sgx.ReportBody{ConfigSVN: target.ConfigSVN}}, nil
			})
			if !errors.Is(err, tt.want) || (err == nil && !cmp.Equal(quote, tt.h.quote)) {
				t.Errorf("%d bytes, %v", len(quote), err)
			}
			if tt.h.inits != tt.inits || tt.h.quotes != tt.quotes {
				t.Errorf("%d inits and %d quotes, want %d and %d", tt.h.inits, tt.h.quotes, tt.inits, tt.quotes)
			}
		})
	}
}

// fakeDaemon answers every connection with the same bytes and closes it.
func fakeDaemon(reply []byte) *Client {
	return &Client{Socket: "/fake.socket", Dial: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if size, err := readHeader(theirs); err == nil {
				io.CopyN(io.Discard, theirs, int64(size))
			}
			theirs.Write(reply)
		}()
		return ours, nil
	}}
}

func TestClientBadReplies(t *testing.T) {
	num := func(c *Client) error { _, err := c.SupportedKeyIDs(t.Context()); return err }
	sel := func(c *Client) error { _, err := c.SelectKeyID(t.Context()); return err }
	pick := func(c *Client) error { _, err := c.SelectKeyID(t.Context(), IntelQE3KeyID()); return err }
	init := func(c *Client) error { _, err := c.InitQuote(t.Context(), IntelQE3KeyID()); return err }
	size := func(c *Client) error { _, err := c.QuoteSize(t.Context(), IntelQE3KeyID()); return err }
	quote := func(c *Client) error {
		_, err := c.GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, nil)
		return err
	}
	challenged := func(c *Client) error {
		_, err := c.GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, &Challenge{})
		return err
	}
	for _, tt := range []struct {
		name  string
		ask   func(*Client) error
		raw   string // raw bytes
		frame string // or a framed message
		want  any    // for errors.Is or errors.As
	}{
		{name: "closes", ask: num, want: ErrNoReply},
		{name: "half a header", ask: num, raw: "0700", want: ErrNoReply},
		{name: "half a reply", ask: num, raw: "07000000 aa01", want: ErrNoReply},
		{name: "4 GiB", ask: num, raw: "ffffffff", want: new(*ProtocolError)},
		{name: "empty frame", ask: num, raw: "00000000", want: new(*ProtocolError)},
		{name: "garbage", ask: num, frame: "9f8e7d6c", want: new(*ProtocolError)},
		{name: "another type", ask: num, frame: "b201( 0800 )", want: new(*ProtocolError)},
		{name: "unsupported", ask: num, frame: "a201( 081e )", want: new(*ProtocolError)},
		{name: "no error code", ask: num, frame: "aa01( 1001 )", want: CodeUnexpected},
		{name: "a code", ask: num, frame: "aa01( 0812 )", want: CodeBusy},
		{name: "an unknown code", ask: num, frame: "aa01( 08e707 )", want: Code(999)},
		{name: "a million keys", ask: num, frame: "aa01( 0800 10c0843d )", want: new(*ProtocolError)},
		{name: "short key ID", ask: sel, frame: "9a01( 0800 12( 00*255 ) )", want: new(*ProtocolError)},
		{name: "no key ID", ask: sel, frame: "9a01( 0800 )", want: new(*ProtocolError)},
		{name: "a key that was not acceptable", ask: pick, frame: "9a01( 0800 12( stranger ) )", want: new(*ProtocolError)},
		{name: "a public key ID of EPID", ask: init, frame: "7a( 0800 12( 00*512 ) 1804 )", want: new(*ProtocolError)},
		{name: "short target info", ask: init, frame: "7a( 0800 12( 00*511 ) 1820 22( 00*32 ) )", want: new(*ProtocolError)},
		{name: "no target info", ask: init, frame: "7a( 0800 1820 22( 00*32 ) )", want: new(*ProtocolError)},
		{name: "short public key ID", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*31 ) )", want: new(*ProtocolError)},
		{name: "long public key ID", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*33 ) )", want: new(*ProtocolError)},
		{name: "a backend without a kind", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 12( 0a*16 ) 180d ) )", want: new(*ProtocolError)},
		{name: "a backend with a line break", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 0a( 640a ) ) )", want: new(*ProtocolError)},
		{name: "a backend with a long kind", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 0a( 61*33 ) ) )", want: new(*ProtocolError)},
		{name: "a backend with 15 components", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 0a0464636170 12( 0a*15 ) 180d ) )", want: new(*ProtocolError)},
		{name: "a backend without components", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 0a0464636170 180d ) )", want: new(*ProtocolError)},
		{name: "a backend without a PCE SVN", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 0a0464636170 12( 0a*16 ) ) )", want: new(*ProtocolError)},
		{name: "a backend with a large PCE SVN", ask: init, frame: "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c23e( 0a0464636170 12( 0a*16 ) 18808004 ) )", want: new(*ProtocolError)},
		{name: "no size", ask: size, frame: "8201( 0800 )", want: new(*ProtocolError)},
		{name: "huge size", ask: size, frame: "8201( 0800 10ffffffff0f )", want: new(*ProtocolError)},
		{name: "no quote", ask: quote, frame: "8a01( 0800 )", want: new(*ProtocolError)},
		{name: "short quote", ask: quote, frame: "8a01( 0800 12( 00*435 ) )", want: new(*ProtocolError)},
		{name: "quote longer than its buffer", ask: quote, frame: "8a01( 0800 12( quote 00 ) )", want: new(*ProtocolError)},
		{name: "signature data longer than the quote", ask: quote, frame: "8a01( 0800 12( 00*432 ffffffff ) )", want: new(*ProtocolError)},
		{name: "no report of the QE", ask: challenged, frame: "8a01( 0800 12( quote ) )", want: new(*ProtocolError)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var reply []byte
			if tt.frame != "" {
				reply = framed(scriptBytes(t, tt.frame))
			} else {
				reply = scriptBytes(t, tt.raw)
			}
			err := tt.ask(fakeDaemon(reply))
			switch want := tt.want.(type) {
			case error:
				if !errors.Is(err, want) {
					t.Errorf("got %v", err)
				}
			default:
				if !errors.As(err, want) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// A client ignores fields that it does not know, and those of confcom's numbers that are
// something else.
func TestForeignReply(t *testing.T) {
	c := fakeDaemon(framed(scriptBytes(t, "7a( 0800 12( 00*512 ) 1820 22( 00*32 ) c03e01 ca3e( 01 ) ) ca3e( 01 )")))
	c.DescribeBackend = true
	ready, err := c.InitQuote(t.Context(), IntelQE3KeyID())
	if err != nil || ready != (Initialized{}) {
		t.Errorf("%+v, %v", ready, err)
	}
}

// A client learns of the backend if it asks and the daemon describes it.
func TestDescribeBackend(t *testing.T) {
	for _, tt := range []struct {
		name    string
		backend Backend
		ask     bool
		want    Backend
	}{
		{"not asked for", testBackend(13), false, Backend{}},
		{"not described", Backend{}, true, Backend{}},
		{"without a certificate", Backend{Kind: "upstream"}, true, Backend{Kind: "upstream"}},
		{"with a certificate", testBackend(0xffff), true, testBackend(0xffff)},
		{"of the lowest TCB", Backend{Kind: "dcap", Certified: true}, true, Backend{Kind: "dcap", Certified: true}},
	} {
		h := newStub()
		h.ready.Backend = tt.backend
		path, _ := start(t, &Server{Handler: h})
		ready, err := (&Client{Socket: path, DescribeBackend: tt.ask}).InitQuote(t.Context(), IntelQE3KeyID())
		if err != nil || ready.Backend != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, ready.Backend, err, tt.want)
		}
	}
}

func TestClientSlowDaemon(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		after   time.Duration
	}{
		{"by default", 0, 15 * time.Second},
		{"with a Timeout", time.Minute, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				go io.Copy(io.Discard, theirs)
				c := &Client{Timeout: tt.timeout, Dial: func(context.Context) (net.Conn, error) { return ours, nil }}
				began := time.Now()
				_, err := c.SelectKeyID(t.Context())
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != tt.after {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		})
	}
}

func TestClientCanceled(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.ReadFull(theirs, make([]byte, headerSize))
		cancel()
	}()
	c := &Client{Dial: func(context.Context) (net.Conn, error) { return ours, nil }}
	if _, err := c.SelectKeyID(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The client waits for a daemon whose backlog is full.
func TestClientFullBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		c := &Client{Dial: func(context.Context) (net.Conn, error) {
			if attempts++; attempts < 10 {
				return nil, syscall.EAGAIN
			}
			return fakeDaemon(framed(scriptBytes(t, "9a01( 0800 12( key ) )"))).Dial(t.Context())
		}}
		if _, err := c.SelectKeyID(t.Context()); err != nil || attempts != 10 {
			t.Errorf("%v after %d attempts", err, attempts)
		}
		attempts = -1 << 30
		if _, err := c.SelectKeyID(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestClientAdvice(t *testing.T) {
	missing := socketPath(t)
	stale := socketPath(t)
	leaveStale(t, stale)
	for _, tt := range []struct {
		client *Client
		is     error
		words  []string
	}{
		{&Client{Socket: missing}, fs.ErrNotExist, []string{missing, "SelectAttKeyID", "running on this node", "mounted"}},
		{&Client{Socket: stale}, syscall.ECONNREFUSED, []string{stale, "stale", "restart"}},
		{fakeDaemon(nil), ErrNoReply, []string{"/fake.socket", "closed the connection", "malformed"}},
		{fakeDaemon(framed(scriptBytes(t, "9a01( 082a )"))), CodeAttKeyNotInitialized,
			[]string{"aesm: SelectAttKeyID: ATT_KEY_NOT_INITIALIZED (42): repeat InitQuoteEx"}},
	} {
		_, err := tt.client.SelectKeyID(t.Context())
		if !errors.Is(err, tt.is) {
			t.Errorf("%v does not wrap %v", err, tt.is)
			continue
		}
		for _, w := range tt.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not contain %q", err, w)
			}
		}
	}
}

// leaveStale leaves a stale socket file, as a killed daemon does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}
