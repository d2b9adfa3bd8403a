package quoting_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

// platform is a stand-in: each quote waits until the test lets it go.
type platform struct {
	entered chan struct{} // receives when a quote is in the making
	leave   chan struct{} // lets one quote go
}

func newPlatform() *platform {
	return &platform{entered: make(chan struct{}), leave: make(chan struct{})}
}

func (p *platform) InitQuote(context.Context) (aesm.Initialized, error) {
	return aesm.Initialized{PublicKeyID: [aesm.PublicKeyIDSize]byte{7}}, nil
}

func (p *platform) QuoteSize(context.Context) (int, error) { return 1, nil }

func (p *platform) Quote(ctx context.Context, _ sgx.Report, _ *aesm.Challenge) (aesm.Quoted, error) {
	p.entered <- struct{}{}
	select {
	case <-p.leave:
		return aesm.Quoted{Quote: []byte{1}}, nil
	case <-ctx.Done():
		return aesm.Quoted{}, ctx.Err()
	}
}

func TestNoMoreQuotesThanSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 2
		p := newPlatform()
		s := quoting.NewService(p, slots)
		results := make(chan error)
		for range slots + 1 {
			go func() {
				_, err := s.Quote(t.Context(), aesm.KeyID{}, sgx.Report{}, nil)
				results <- err
			}()
		}
		<-p.entered
		<-p.entered
		synctest.Wait() // the third waits for a slot
		select {
		case <-p.entered:
			t.Fatal("a quote more than there are slots is in the making")
		default:
		}
		p.leave <- struct{}{}
		if err := <-results; err != nil {
			t.Error(err)
		}
		<-p.entered // now the third has the slot
		for range slots {
			p.leave <- struct{}{}
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// A client is told BUSY before it loses its patience, whether the platform
// hangs or all slots are taken.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		s := quoting.NewService(p, 1)
		results := make(chan error)
		start := time.Now()
		for range 2 {
			go func() {
				_, err := s.Quote(t.Context(), aesm.KeyID{}, sgx.Report{}, nil)
				results <- err
			}()
		}
		<-p.entered
		for range 2 {
			var code aesm.Code
			if err := <-results; !errors.As(err, &code) || code != aesm.CodeBusy {
				t.Errorf("error %v", err)
			}
		}
		if waited := time.Since(start); waited != quoting.Deadline {
			t.Errorf("answered after %s", waited)
		}
	})
}

func TestInitAndSizeAreThePlatforms(t *testing.T) {
	s := quoting.NewService(newPlatform(), 1)
	if i, err := s.InitQuote(t.Context(), aesm.KeyID{}); err != nil || i.PublicKeyID[0] != 7 {
		t.Errorf("InitQuote = %v, %v", i, err)
	}
	if n, err := s.QuoteSize(t.Context(), aesm.KeyID{}); err != nil || n != 1 {
		t.Errorf("QuoteSize = %d, %v", n, err)
	}
	if keys, err := s.KeyIDs(t.Context()); err != nil || len(keys) != 1 || keys[0] != aesm.IntelQE3KeyID() {
		t.Errorf("KeyIDs = %v, %v", keys, err)
	}
}

func TestLog(t *testing.T) {
	for _, c := range []struct {
		exchange aesm.Exchange
		want     string
	}{
		{aesm.Exchange{Kind: aesm.KindGetQuoteEx}, "level=DEBUG msg=answered request=GetQuoteEx"},
		{aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeBusy, Err: errors.New("too much")}, `level=WARN msg=answered request=GetQuoteEx duration=0s error="too much" code=18 name=BUSY`},
		{aesm.Exchange{Drop: aesm.DropProbe}, "level=DEBUG msg=closed"},
		{aesm.Exchange{Drop: aesm.DropMalformed, Err: errors.New("nonsense")}, "level=WARN msg=dropped request=none duration=0s error=nonsense reason=malformed"},
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		quoting.Log(log)(t.Context(), c.exchange)
		if !strings.Contains(out.String(), c.want) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%+v: %s want %s", c.exchange, &out, c.want)
		}
	}
}

func ExampleService() {
	p := newPlatform()
	service := quoting.NewService(p, 4)
	go func() { <-p.entered; p.leave <- struct{}{} }()

	quoted, err := service.Quote(context.Background(), aesm.IntelQE3KeyID(), sgx.Report{}, nil)
	fmt.Println(quoted.Quote, err)
	// Output: [1] <nil>
}
