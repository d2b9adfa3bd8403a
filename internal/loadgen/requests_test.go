package loadgen

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// daemon is an AESM daemon whose key a test changes, and whose quotes it makes larger.
type daemon struct {
	key  atomic.Uint32 // the first byte of the target info
	size atomic.Int64
	lost atomic.Bool // every report is rejected
}

func (d *daemon) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	return []aesm.KeyID{aesm.IntelQE3KeyID()}, nil
}

func (d *daemon) InitQuote(context.Context, aesm.Caller, aesm.KeyID) (aesm.Initialized, error) {
	return aesm.Initialized{TargetInfo: sgx.TargetInfo{MREnclave: sgx.Measurement{byte(d.key.Load())}}}, nil
}

func (d *daemon) QuoteSize(context.Context, aesm.KeyID) (int, error) { return int(d.size.Load()), nil }

func (d *daemon) Quote(_ context.Context, _ aesm.Caller, _ aesm.KeyID, report sgx.Report, _ *aesm.Challenge) (aesm.Quoted, error) {
	if d.lost.Load() || uint32(report.Body.ReportData[0]) != d.key.Load() {
		return aesm.Quoted{}, aesm.CodeAttKeyNotInitialized
	}
	return aesm.Quoted{Quote: make([]byte, d.size.Load())}, nil
}

// makeReport returns a report that contains the first byte of its target.
func makeReport(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
	return sgx.Report{Body: sgx.ReportBody{ReportData: sgx.ReportData{target.MREnclave[0]}}}, nil
}

// serve runs the daemon until stop, which returns the number of requests of each kind.
func serve(t *testing.T, d *daemon) (client *aesm.Client, stop func() map[aesm.Kind]int) {
	t.Helper()
	d.size.Store(1000)
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	listener, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	requests := make(map[aesm.Kind]int)
	server := aesm.Server{Handler: d, Observe: func(_ context.Context, e aesm.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind != 0 {
			requests[e.Kind]++
		}
	}}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(ctx, listener) }()
	stop = sync.OnceValue(func() map[aesm.Kind]int {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		return requests
	})
	t.Cleanup(func() { stop() })
	return &aesm.Client{Socket: socket}, stop
}

func TestKinds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*aesm.Client) func(context.Context) error
		want map[aesm.Kind]int
	}{
		"sizes": {Sizes, map[aesm.Kind]int{aesm.KindGetQuoteSizeEx: 10}},
		"keys":  {Keys, map[aesm.Kind]int{aesm.KindSelectAttKeyID: 10}},
		"inits": {Inits, map[aesm.Kind]int{aesm.KindInitQuoteEx: 20}},
	} {
		client, stop := serve(t, new(daemon))
		r := Run(t.Context(), Options{Clients: 3, Requests: 10, Do: c.do(client)}, nil)
		requests := stop()
		if r.Requests != 10 || r.Failed != 0 || !cmp.Equal(requests, c.want) {
			t.Errorf("%s: %+v, requests %v", name, r, requests)
		}
	}
}

func TestQuotes(t *testing.T) {
	for name, c := range map[string]struct {
		room int
		want map[aesm.Kind]int
	}{
		"as Gramine":         {8192, map[aesm.Kind]int{aesm.KindInitQuoteEx: 2, aesm.KindGetQuoteEx: 10}},
		"as Intel's library": {0, map[aesm.Kind]int{aesm.KindInitQuoteEx: 2, aesm.KindGetQuoteSizeEx: 1, aesm.KindGetQuoteEx: 10}},
	} {
		client, stop := serve(t, new(daemon))
		do, err := Quotes(t.Context(), client, makeReport, c.room)
		if err != nil {
			t.Fatal(err)
		}
		r := Run(t.Context(), Options{Clients: 3, Requests: 10, Do: do}, nil)
		requests := stop()
		if r.Requests != 10 || r.Failed != 0 || !cmp.Equal(requests, c.want) {
			t.Errorf("%s: %+v, requests %v", name, r, requests)
		}
	}
}

// A changed key or a larger quote causes another preparation, not an error.
func TestQuotesPrepareAgain(t *testing.T) {
	for name, c := range map[string]struct {
		room   int
		change func(*daemon)
		want   map[aesm.Kind]int
		err    error
	}{
		"new key": {
			8192, func(d *daemon) { d.key.Add(1) },
			map[aesm.Kind]int{aesm.KindInitQuoteEx: 4, aesm.KindGetQuoteEx: 3}, nil,
		},
		"larger quote": {
			0, func(d *daemon) { d.size.Add(1) },
			map[aesm.Kind]int{aesm.KindInitQuoteEx: 4, aesm.KindGetQuoteSizeEx: 2, aesm.KindGetQuoteEx: 3}, nil,
		},
		"larger than the buffer": {
			1000, func(d *daemon) { d.size.Add(1) },
			map[aesm.Kind]int{aesm.KindInitQuoteEx: 2, aesm.KindGetQuoteEx: 2}, aesm.CodeParameter,
		},
		"key never initialized again": {
			8192, func(d *daemon) { d.lost.Store(true) },
			map[aesm.Kind]int{aesm.KindInitQuoteEx: 12, aesm.KindGetQuoteEx: 6}, aesm.CodeAttKeyNotInitialized,
		},
	} {
		d := new(daemon)
		client, stop := serve(t, d)
		do, err := Quotes(t.Context(), client, makeReport, c.room)
		if err != nil {
			t.Fatal(err)
		}
		if err := do(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.change(d)
		if err := do(t.Context()); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if requests := stop(); !cmp.Equal(requests, c.want) {
			t.Errorf("%s: requests %v, want %v", name, requests, c.want)
		}
	}
}

func TestQuotesNotPrepared(t *testing.T) {
	client := &aesm.Client{Socket: filepath.Join(t.TempDir(), "absent")}
	if _, err := Quotes(t.Context(), client, makeReport, 0); err == nil {
		t.Error("prepared without a daemon")
	}
	client, _ = serve(t, new(daemon))
	broken := errors.New("the enclave is broken")
	if _, err := Quotes(t.Context(), client, func(context.Context, sgx.TargetInfo) (sgx.Report, error) { return sgx.Report{}, broken }, 0); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
