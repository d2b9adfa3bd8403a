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

// collateralService is a service that hangs, fails or answers.
type collateralService struct {
	collateral *attest.Collateral

	mu    sync.Mutex
	hangs bool
	fails bool
	calls int
}

func (s *collateralService) set(hangs, fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs, s.fails, s.calls = hangs, fails, 0
}

func (s *collateralService) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *collateralService) fetch(ctx context.Context, _ pcs.Family) (*attest.Collateral, error) {
	s.mu.Lock()
	s.calls++
	hangs, fails := s.hangs, s.fails
	s.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case fails:
		return nil, errors.New("not registered")
	}
	return s.collateral, nil
}

// newFetcher returns a fetcher from a service that answers.
func newFetcher(t *testing.T, collateral *attest.Collateral) (*Fetcher, *collateralService) {
	s := &collateralService{collateral: collateral}
	f := NewFetcher(s.fetch)
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
	service.set(true, false)
	time.Sleep(2 * refreshAge)

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
	if n := service.called(); n > maxFetches+1 {
		t.Errorf("%d fetches", n)
	}
}

// Collateral that is kept is used at once, and fetched again when it is old.
func TestRefresh(t *testing.T) { inBubble(t, testRefresh) }

func testRefresh(t *testing.T) {
	_, _, q, from := newService(t, attest.Policy{})
	f, service := newFetcher(t, from.collateral)
	if f.Kept(q) != nil {
		t.Error("kept before it was fetched")
	}
	if c, err := f.Fetch(t.Context(), client(1), q); err != nil || c != from.collateral {
		t.Fatal(err)
	}
	step := func(what string, calls int) {
		t.Helper()
		for range 10 {
			if f.Kept(q) == nil {
				t.Errorf("%s: nothing is kept", what)
			}
			synctest.Wait()
		}
		if n := service.called(); n != calls {
			t.Errorf("%s: %d calls, want %d", what, n, calls)
		}
	}
	step("fresh", 1)
	time.Sleep(refreshAge)
	step("old", 2)
	service.set(false, true)
	time.Sleep(refreshAge)
	step("the service fails", 1)
	step("it has failed just now", 1)
	service.set(true, false)
	time.Sleep(refreshAge)
	step("the service hangs", 1)
	time.Sleep(refreshAge)
	step("the service still hangs", 1)
}

// The number of requests that wait, and of fetches, is bounded in all and for each client.
func TestFetcherBounds(t *testing.T) { inBubble(t, testFetcherBounds) }

func testFetcherBounds(t *testing.T) {
	quotes := otherFamilies(t, maxFetches+1)
	f, service := newFetcher(t, nil)
	service.set(true, false)
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
	for i := range maxFetchesEach + 2 {
		ask(1, 1, quotes[1+i])
	}
	check("one client, many families", tooManyFetches, 2, 1+maxFetchesEach)
	for i := 1 + maxFetchesEach; i < len(quotes); i++ {
		ask(1, 2+i/maxFetchesEach, quotes[i])
	}
	check("many families", tooManyFetches, 1, maxFetches)
	for i := range 5 {
		ask(maxWaitingEach, 100+i, quotes[0])
	}
	// All of the first client wait, and one for each other family.
	check("many clients", tooMany, 5*maxWaitingEach-(maxWaiting-maxWaitingEach-(maxFetches-1)), maxFetches)
	cancel(errors.New("given up"))
	requests.Wait()
	check("given up", "no answer from the collateral service: given up", maxWaiting, maxFetches)
	if len(f.waiting.taken) > 0 || len(f.fetches.taken) == 0 {
		t.Errorf("waiting %v, fetches %v", f.waiting.taken, f.fetches.taken)
	}
	f.Close()
	if len(f.fetches.taken) > 0 || f.fetches.total != 0 || len(f.families) > 0 {
		t.Errorf("closed: fetches %v, families %v", f.fetches.taken, f.families)
	}
	if _, err := f.Fetch(t.Context(), client(1), quotes[0]); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("closed: %v", err)
	}
}
