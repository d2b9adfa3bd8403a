package epc

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/confcom/confcom/internal/node"
)

// lookInterval is the time between two looks at a machine: a device that
// vanishes is soon withdrawn, and a driver that is loaded late soon used.
const lookInterval = time.Second

// Watch calls changed with what the machine has and what is offered of it, at
// first and whenever there is a change, until ctx is done. When changed returns
// an error it is called again after the next look.
//
// A look that fails changes nothing: it is no sign that the device is gone. Its
// error, and that of changed, is logged once and told to looked, and so is it
// when there is none any more.
func (p Policy) Watch(ctx context.Context, m node.Machine, log *slog.Logger, looked func(error), changed func(node.Inventory, Capacity) error) {
	var said string
	m.Watch(ctx, lookInterval, func(inv node.Inventory, err error) bool {
		message := "cannot tell what SGX this node has: it is looked at again"
		done := true // a look is repeated anyway
		if err == nil {
			if err = changed(inv, p.For(inv)); err != nil {
				message, done = "cannot offer the SGX of this node: it is tried again", false
			}
		}
		looked(err)
		if err != nil && err.Error() != said {
			log.Error(message, "error", err)
		}
		said = fmt.Sprint(err)
		return done
	})
}
