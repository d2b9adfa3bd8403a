package verifyserver

import (
	"bytes"
	"context"
	"crypto/x509"
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
	cached map[attest.Family]bool // in memory
	filed  map[attest.Family]bool // in the directory only
	takes  time.Duration          // for each call
	hangs  bool
	calls  int

	chains map[platformID][]*x509.Certificate // of the platforms that it knows
	kept   map[platformID]bool                // those that are in memory
	asked  []time.Time                        // when it was asked for chains
}

func (s *collateralService) CertificatesInMemory(q *quote.Quote) []*x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := platformIDOf(q); s.kept[id] {
		return s.chains[id]
	}
	return nil
}

func (s *collateralService) CertificatesFor(ctx context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	s.mu.Lock()
	hangs := s.hangs
	s.asked = append(s.asked, time.Now())
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := platformIDOf(q)
	if s.chains[id] == nil {
		return nil, &pcs.StatusError{URL: "pckcert", Status: http.StatusNotFound}
	}
	s.kept[id] = true
	return s.chains[id], nil
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

func (s *collateralService) InMemory(f attest.Family) *pcs.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cached[f] {
		return nil
	}
	return &pcs.Bundle{Collateral: *s.collateral}
}

func (s *collateralService) Cached(f attest.Family) *pcs.Bundle {
	s.mu.Lock()
	s.cached[f] = s.cached[f] || s.filed[f]
	s.mu.Unlock()
	return s.InMemory(f)
}

func (s *collateralService) Refresh(ctx context.Context, f attest.Family) (*pcs.Bundle, error) {
	s.mu.Lock()
	s.calls++
	hangs, takes := s.hangs, s.takes
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached[f] = true
	return &pcs.Bundle{Collateral: *s.collateral}, nil
}

// know adds the certificates that a quote lacks to those of the service.
func (s *collateralService) know(q *quote.Quote, chain []*x509.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chains[platformIDOf(q)] = chain
}

// newFetcher returns a fetcher from a service that answers.
func newFetcher(t *testing.T, collateral *attest.Collateral) (*Fetcher, *collateralService) {
	s := &collateralService{collateral: collateral, cached: make(map[attest.Family]bool), filed: make(map[attest.Family]bool),
		chains: make(map[platformID][]*x509.Certificate), kept: make(map[platformID]bool)}
	f := NewFetcher(s)
	t.Cleanup(f.Close)
	return f, s
}

// otherFamilies returns families of platforms.
func otherFamilies(n int) (families []attest.Family) {
	for i := range n {
		families = append(families, attest.Family{FMSPC: fmt.Sprintf("0102030405%02X", i), CA: attest.ProcessorCA})
	}
	return families
}

// otherPlatforms returns quotes of platforms that each are of another family.
func otherPlatforms(t *testing.T, n int) []*quote.Quote {
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
	s, h, known, from := newService(t, attest.Policy{AnyEnclave: true})
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

	unknown := otherPlatforms(t, 8)
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
	families := otherFamilies(maxFetches + 1)
	f, service := newFetcher(t, nil)
	service.hang()
	ctx, cancel := context.WithCancelCause(t.Context())
	var mu sync.Mutex
	ended := make(map[string]int) // requests by their error
	var requests sync.WaitGroup
	ask := func(n, from int, family attest.Family) {
		for range n {
			requests.Go(func() {
				_, err := f.Fetch(ctx, client(from), family, nil)
				mu.Lock()
				defer mu.Unlock()
				ended[fmt.Sprint(err)]++
			})
		}
		synctest.Wait()
	}
	check := func(what, message string, want, calls int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if ended[message] != want || service.called() != calls {
			t.Errorf("%s: %d calls, want %d; ended %v, want %d", what, service.called(), calls, ended, want)
		}
		clear(ended)
	}
	const tooMany, queued = "too many requests wait for collateral: try again", "too many fetches of collateral are in progress: try again: given up"
	ask(maxWaitingEach+5, 0, families[0])
	check("one client, one family", tooMany, 5, 1)
	ask(3, 1, families[1])
	ask(1, 1, families[2]) // waits for its share
	check("one client, another family", tooMany, 0, 2)
	ask(1, 2, families[2])
	ask(1, 3, families[3])
	ask(1, 4, families[4]) // waits for one of the others
	check("many families", tooMany, 0, maxFetches)
	waiting := maxWaitingEach + 7
	for i := range 5 {
		left := maxWaiting - waiting
		ask(maxWaitingEach, 100+i, families[0])
		takes := min(maxWaitingEach, left/2+1)
		for takes > 1 && takes-1 >= (left-takes+1)/2+1 {
			takes-- // half of what is left shrinks as it is taken
		}
		check("many clients", tooMany, maxWaitingEach-takes, maxFetches)
		waiting += takes
	}
	if waiting >= maxWaiting {
		t.Error("a few clients leave nothing to others")
	}
	cancel(errors.New("given up"))
	requests.Wait()
	check("given up", queued, 1, maxFetches)
	if len(f.families.waiting.taken) > 0 || len(f.families.started) > 0 || len(f.families.queue) > 0 || len(f.families.flights) != maxFetches || len(f.families.fetches.taken) != maxFetches {
		t.Errorf("waiting %v, queue %v, fetches %v", f.families.waiting.taken, f.families.queue, f.families.fetches.taken)
	}
	f.Close()
	if len(f.families.fetches.taken) > 0 || f.families.fetches.total != 0 || len(f.families.flights) > 0 || service.called() != maxFetches {
		t.Errorf("closed: fetches %v, flights %v", f.families.fetches.taken, f.families.flights)
	}
	if _, err := f.Fetch(t.Context(), client(1), families[0], nil); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("closed: %v", err)
	}
}

// A client's platforms are fetched one after the other, and each request waits as long as it
// can.
func TestFetchesOfOneClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, service := newFetcher(t, new(attest.Collateral))
		service.takes = time.Second
		families := otherFamilies(5)
		start := time.Now()
		var requests sync.WaitGroup
		for _, family := range families[:3] {
			requests.Go(func() {
				if _, err := f.Fetch(t.Context(), client(1), family, nil); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
		if took := time.Since(start); took != 3*time.Second || service.called() != 3 {
			t.Errorf("%d fetches in %s, want 3 in 3s", service.called(), took)
		}
		service.hang()
		start = time.Now()
		for i, want := range []string{"no answer from the collateral service: ", "too many fetches of collateral are in progress: try again: "} {
			requests.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout)
				defer cancel()
				if _, err := f.Fetch(ctx, client(1), families[3+i], nil); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v; want %q", err, want)
				}
			})
			synctest.Wait()
		}
		for _, family := range families[:3] {
			if _, err := f.Fetch(t.Context(), client(1), family, nil); err != nil || time.Since(start) > 0 {
				t.Errorf("collateral at hand: %v after %s", err, time.Since(start))
			}
		}
		requests.Wait()
		if took := time.Since(start); took != fetchTimeout || service.called() != 1 {
			t.Errorf("waited for %s, %d fetches", took, service.called())
		}
	})
}

// A client that has had no fetch comes before clients with many families.
func TestFetchesAreFair(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, service := newFetcher(t, new(attest.Collateral))
		service.takes = time.Second
		const each = 5
		families := otherFamilies(maxFetches*each + 1)
		var requests sync.WaitGroup
		for i, family := range families[:maxFetches*each] {
			requests.Go(func() { _, _ = f.Fetch(t.Context(), client(i%maxFetches), family, nil) })
			synctest.Wait()
		}
		start := time.Now()
		if _, err := f.Fetch(t.Context(), client(99), families[maxFetches*each], nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("served after %s, want 2s", took)
		}
		requests.Wait()
	})
}

// Several clients wait for the same flight; it starts with the share of any of them, and not
// at all once nobody waits for it.
func TestFlightsAreShared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, service := newFetcher(t, new(attest.Collateral))
		service.hang()
		families := otherFamilies(2)
		ctx, cancel := context.WithCancel(t.Context())
		var requests sync.WaitGroup
		fetch := func(ctx context.Context, from int, family attest.Family) {
			requests.Go(func() { _, _ = f.Fetch(ctx, client(from), family, nil) })
			synctest.Wait()
		}
		fetch(t.Context(), 1, families[0])
		fetch(ctx, 1, families[1])
		cancel()
		synctest.Wait()
		if len(f.families.queue) > 0 || len(f.families.flights) != 1 {
			t.Errorf("flights %v, queue %v: nobody waits", f.families.flights, f.families.queue)
		}
		fetch(t.Context(), 1, families[1])
		if n := service.called(); n != 1 {
			t.Errorf("%d fetches for a client", n)
		}
		fetch(t.Context(), 2, families[1])
		if n := service.called(); n != 2 {
			t.Errorf("%d fetches for two clients", n)
		}
		f.Close()
		requests.Wait()
	})
}

// Collateral at hand that cannot be used is not the answer, unless there is no other.
func TestFetchOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, service := newFetcher(t, &attest.Collateral{TCBInfo: "old"})
		family := otherFamilies(1)[0]
		if _, err := f.Fetch(t.Context(), client(1), family, nil); err != nil {
			t.Fatal(err)
		}
		kept := f.Kept(family)
		if c, err := f.Fetch(t.Context(), client(1), family, kept); err != nil || c == kept || !same(c, kept) || service.called() != 2 {
			t.Errorf("%+v, %v, %d fetches", c, err, service.called())
		}
		service.collateral = &attest.Collateral{TCBInfo: "new"}
		if c, err := f.Fetch(t.Context(), client(1), family, kept); err != nil || c.TCBInfo != "new" || service.called() != 2 {
			t.Errorf("%+v, %v, %d fetches", c, err, service.called())
		}
	})
}

// What is in the directory is found for a platform that has been verified, without a share.
func TestCollateralInDirectory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, service := newFetcher(t, new(attest.Collateral))
		service.hang()
		families := otherFamilies(2)
		service.filed[families[1]] = true
		var requests sync.WaitGroup
		requests.Go(func() { _, _ = f.Fetch(t.Context(), client(1), families[0], nil) })
		synctest.Wait()
		if f.Kept(families[1]) != nil {
			t.Error("the directory was read for collateral at hand")
		}
		if c, err := f.Fetch(t.Context(), client(1), families[1], nil); c == nil || err != nil {
			t.Error(err)
		}
		if f.Kept(families[1]) == nil || service.called() != 1 {
			t.Errorf("%d fetches", service.called())
		}
		f.Close()
		requests.Wait()
	})
}
