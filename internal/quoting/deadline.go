package quoting

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends Deadline after it was made. Its timer starts
// only when somebody waits for the end, which few do: a platform that has a slot
// free and works in memory is done before. Starting a timer and stopping it would
// cost as much as all else that the service does.
type deadline struct {
	context.Context // whose end is that of this one, too
	at              time.Time

	mu     sync.Mutex
	timed  context.Context // with the timer; nil until somebody waits
	cancel context.CancelFunc
	ended  bool
}

// withDeadline returns ctx with the deadline of a request. The function is to be
// called at its end.
func withDeadline(ctx context.Context) (context.Context, func()) {
	d := &deadline{Context: ctx, at: time.Now().Add(Deadline)}
	return d, d.stop
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.ended {
			d.cancel()
		}
	}
	return d.timed.Done()
}

func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.timed != nil:
		return d.timed.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// stop ends the timer, if there is one.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}
