package epc

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/confcom/confcom/internal/node"
)

// pollInterval is the time between two discoveries of a machine. It is short, so
// that a device that vanishes is soon withdrawn, and a driver that is loaded late
// is soon used.
const pollInterval = time.Second

// Watch polls a machine until ctx is done. It calls changed with the inventory and
// what the policy advertises of it, once at the start and after each change. If
// changed returns an error, it is called again after the next poll.
//
// A failed discovery changes nothing, since it does not show that the device is
// gone. Watch logs its error, and that of changed, once, and passes it to polled;
// polled(nil) follows when the error is over.
func (p Policy) Watch(ctx context.Context, m node.Machine, log *slog.Logger, polled func(error), changed func(node.Inventory, Capacity) error) {
	var logged string
	m.Watch(ctx, pollInterval, func(inv node.Inventory, err error) bool {
		message := "discover SGX failed, retrying"
		done := true // the next poll discovers again in any case
		if err == nil {
			if err = changed(inv, p.For(inv)); err != nil {
				message, done = "advertise SGX failed, retrying", false
			}
		}
		polled(err)
		if err != nil && err.Error() != logged {
			log.Error(message, "error", err)
		}
		logged = fmt.Sprint(err)
		return done
	})
}
