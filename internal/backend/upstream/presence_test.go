package upstream

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm"
)

// However many requests are affected, a change is logged once.
func TestPresence(t *testing.T) {
	const (
		gone = `level=WARN msg="upstream does not answer" socket=/run/aesm.socket error=`
		back = `level=INFO msg="upstream is back" socket=/run/aesm.socket silent=`
	)
	size := func(b *Backend, within time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		b.size.forget()
		_, _ = b.QuoteSize(ctx)
	}
	synctest.Test(t, func(t *testing.T) {
		log, logged := newLog()
		b := New("/run/aesm.socket", log)
		answer := func(aesm.Kind) []byte { return sizeReply(1000) }

		raw(b, answer)
		size(b, time.Minute)
		logged.expect(t) // it has always answered

		refuseDial(b, syscall.ECONNREFUSED)
		for range 5 {
			size(b, 2*time.Second)
		}
		logged.expect(t, gone+`"connect: connection refused"`)

		hang(b)
		size(b, 2*time.Second) // another kind of silence is not a change
		logged.expect(t)

		raw(b, answer)
		size(b, time.Minute)
		size(b, time.Minute)
		logged.expect(t, back+"11.5s")

		// A request that arrives with little time left does not count.
		hang(b)
		size(b, minSilence/2)
		logged.expect(t)

		// Nor does one that waits while others are served.
		var waiting sync.WaitGroup
		waiting.Go(func() { size(b, 10*time.Second) })
		synctest.Wait()
		raw(b, answer)
		time.Sleep(5 * time.Second)
		if _, err := ask(t.Context(), b, b.client.QuoteSize); err != nil {
			t.Error(err)
		}
		waiting.Wait()
		logged.expect(t)
	})
}
