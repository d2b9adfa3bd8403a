package certificates

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollInterval is the time between two checks of the age of the data, unless it gets
	// old faster.
	pollInterval = time.Minute
	// retryInterval is the pause after a refresh that failed, likewise.
	retryInterval = 10 * time.Minute
)

// Run refreshes the data that was asked for, until ctx is done.
func (c *Cache) Run(ctx context.Context) {
	retry := min(retryInterval, c.RefreshAfter)
	tick := time.NewTicker(min(pollInterval, c.RefreshAfter))
	defer tick.Stop()
	var notBefore time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if now.Before(notBefore) {
				continue
			}
			if err := c.refresh(ctx); err != nil && ctx.Err() == nil {
				// Quotes go on with the data that is there.
				c.Log.Warn("refresh platform certificates failed", "error", err, "next", retry)
				notBefore = now.Add(retry)
			}
		}
	}
}

// refresh fetches all data that is old and was used by this process, unless another
// process is doing so.
func (c *Cache) refresh(ctx context.Context) error {
	var errs []error
	for id, ppid := range c.platforms() {
		errs = append(errs, c.refreshOne(ctx, id, ppid))
	}
	return errors.Join(errs...)
}

func (c *Cache) refreshOne(ctx context.Context, id ID, ppid []byte) error {
	answer, isNew, err := c.fetchOld(ctx, id, ppid)
	if err != nil || !isNew {
		return err
	}
	return c.prove(id, answer)
}

// fetchOld fetches data if it is old, and unless another process is doing so. An answer
// that is the same as before is kept; another one is new.
func (c *Cache) fetchOld(ctx context.Context, id ID, ppid []byte) (answer Answer, isNew bool, err error) {
	if !c.isOld(id) {
		return Answer{}, false, nil
	}
	unlock, err := c.lockAll(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return Answer{}, false, nil
	}
	if err != nil {
		return Answer{}, false, err
	}
	defer unlock()
	e, kept := c.load(id)
	if !kept || !c.isOld(id) {
		return Answer{}, false, nil // where nothing is kept, the next use fetches it
	}
	answer, err = c.fetch(ctx, id, ppid)
	if err != nil {
		return Answer{}, false, err
	}
	if answer.Data.equal(e.Data) && !e.Refused {
		c.keep(id, answer)
		return answer, false, nil
	}
	return answer, true, nil
}

// prove has the library initialize its key with an answer, and if that fails, with what
// is kept.
func (c *Cache) prove(id ID, answer Answer) error {
	c.using.Lock()
	defer c.using.Unlock()
	err := c.runWith(map[ID]Answer{id: answer}, c.Prove, refusals(true))
	if err != nil {
		// Without this, the next quote would have to do it.
		if again := c.runWith(nil, c.Prove, nil); again != nil {
			c.Log.Warn("initialize with the platform certificates that are kept failed", "error", again)
		}
	}
	return err
}

// platforms returns those that were asked for, with their encrypted PPIDs.
func (c *Cache) platforms() map[ID][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make(map[ID][]byte, len(c.asked))
	for id, ppid := range c.asked {
		ids[id] = ppid
	}
	return ids
}

// isOld reports whether the data of a platform is old, or was refused by the library.
// Data from the future is old as well: the clock was wrong then, or is now.
func (c *Cache) isOld(id ID) bool {
	e, ok := c.load(id)
	age := time.Since(e.Fetched)
	return ok && (e.Refused || age >= c.RefreshAfter || age < 0)
}
