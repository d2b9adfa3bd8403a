package verifyserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// collateralService is a client of a service that hangs or answers.
type collateralService struct {
	collateral *attest.Collateral

	mu     sync.Mutex
	cached map[pcs.Family]bool
	hangs  bool
	calls  int
}

func (s *collateralService) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs, s.calls = true, 0
}

func (s *collateralService) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *collateralService) Cached(f pcs.Family) *pcs.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cached[f] {
		return nil
	}
	return &pcs.Bundle{Collateral: *s.collateral}
}

func (s *collateralService) Collateral(ctx context.Context, f pcs.Family) (*pcs.Bundle, error) {
	s.mu.Lock()
	s.calls++
	hangs := s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached[f] = true
	return &pcs.Bundle{Collateral: *s.collateral}, nil
}

// newFetcher returns a fetcher from a service that answers.
func newFetcher(t *testing.T, collateral *attest.Collateral) (*Fetcher, *collateralService) {
	s := &collateralService{collateral: collateral, cached: make(map[pcs.Family]bool)}
	f := NewFetcher(s)
	t.Cleanup(f.Close)
	return f, s
}

// otherFamilies returns quotes of platforms that each are of another family.
func otherFamilies(t *testing.T, n int) []*quote.Quote {
	t.Helper()
	var quotes []*quote.Quote
	for i := range n {
		issuer, err := attesttest.NewIssuer("node-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		issuer.Extension.FMSPC = []byte{1, 2, 3, 4, 5, byte(i)}
		q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
		if err != nil {
			t.Fatal(err)
		}
		quotes = append(quotes, q)
	}
	return quotes
}

func client(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }

// While the collateral service hangs, quotes of unknown platforms, however many, delay no
// quote of a known one.
func TestHangingService(t *testing.T) { inBubble(t, testHangingService) }

func testHangingService(t *testing.T) {
	s, h, known, from := newService(t, attest.Policy{})
	fetcher, service := newFetcher(t, from.collateral)
	s.Collateral = fetcher
	send := func(q *quote.Quote, from netip.Addr) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/verify", bytes.NewReader(marshal(t, q)))
		r.RemoteAddr = netip.AddrPortFrom(from, 1).String()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if status := send(known, client(0)); status != 200 {
		t.Fatal(status)
	}
	service.hang()

	unknown := otherFamilies(t, 8)
	start := time.Now()
	var attackers sync.WaitGroup
	for i := range 200 {
		attackers.Go(func() {
			if status := send(unknown[i%len(unknown)], client(1+i%20)); status != 503 {
				t.Errorf("status %d", status)
			}
		})
	}
	synctest.Wait()
	for range 100 {
		if status := send(known, client(1)); status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if took := time.Since(start); took != 0 {
		t.Errorf("honest requests took %s", took)
	}
	attackers.Wait()
	if took := time.Since(start); took != fetchTimeout {
		t.Errorf("the others waited for %s", took)
	}
	if n := service.called(); n > maxFetches {
		t.Errorf("%d fetches", n)
	}
}

// The number of requests that wait, and of fetches, is bounded in all and for each client.
func TestFetcherBounds(t *testing.T) { inBubble(t, testFetcherBounds) }

func testFetcherBounds(t *testing.T) {
	quotes := otherFamilies(t, maxFetches+1)
	f, service := newFetcher(t, nil)
	service.hang()
	ctx, cancel := context.WithCancelCause(t.Context())
	var mu sync.Mutex
	refused := make(map[string]int)
	var requests sync.WaitGroup
	ask := func(n, client int, q *quote.Quote) {
		for range n {
			requests.Go(func() {
				_, err := f.Fetch(ctx, netip.AddrFrom4([4]byte{10, 0, 0, byte(client)}), q)
				mu.Lock()
				defer mu.Unlock()
				refused[fmt.Sprint(err)]++
			})
		}
		synctest.Wait()
	}
	check := func(what, message string, want, calls int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if refused[message] != want || service.called() != calls {
			t.Errorf("%s: %d calls, want %d; refused %v, want %d", what, service.called(), calls, refused, want)
		}
		clear(refused)
	}
	const tooMany, tooManyFetches = "too many requests wait for collateral: try again", "too many fetches of collateral are in progress: try again"
	ask(maxWaitingEach+5, 0, quotes[0])
	check("one client, one family", tooMany, 5, 1)
	for range maxFetchesEach + 2 {
		ask(1, 1, quotes[1])
	}
	ask(1, 1, quotes[2])
	check("one client, another family", tooManyFetches, 1, 2)
	for i, q := range quotes[2:] {
		ask(1, 2+i, q)
	}
	check("many families", tooManyFetches, 1, maxFetches)
	for i := range 5 {
		ask(maxWaitingEach, 100+i, quotes[0])
	}
	// All of the first client wait, three of the second, and one for each other family.
	check("many clients", tooMany, 5*maxWaitingEach-(maxWaiting-maxWaitingEach-3-(maxFetches-2)), maxFetches)
	cancel(errors.New("given up"))
	requests.Wait()
	check("given up", "no answer from the collateral service: given up", maxWaiting, maxFetches)
	if len(f.waiting.taken) > 0 || len(f.fetches.taken) == 0 {
		t.Errorf("waiting %v, fetches %v", f.waiting.taken, f.fetches.taken)
	}
	f.Close()
	if len(f.fetches.taken) > 0 || f.fetches.total != 0 || len(f.flights) > 0 {
		t.Errorf("closed: fetches %v, flights %v", f.fetches.taken, f.flights)
	}
	if _, err := f.Fetch(t.Context(), client(1), quotes[0]); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("closed: %v", err)
	}
}
