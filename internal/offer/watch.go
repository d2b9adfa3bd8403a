package offer

import (
	"context"
	"log/slog"
	"time"

	"github.com/confcom/confcom/internal/node"
)

// lookInterval is the time between two looks at a machine: a device that
// vanishes is soon withdrawn, and a driver that is loaded late soon used.
const lookInterval = time.Second

// Watch calls changed with what the machine has and what is offered of it, at
// first and whenever there is a change, until ctx is done. It ends with the error
// that changed returns, if any.
//
// A look that fails is logged, and told to looked, as is that one succeeds again.
// It changes nothing: it is no sign that the device is gone.
func (p Policy) Watch(ctx context.Context, m node.Machine, log *slog.Logger, looked func(error), changed func(node.Inventory, Offer) error) error {
	return m.Watch(ctx, lookInterval, func(inv node.Inventory, err error) error {
		looked(err)
		if err != nil {
			log.Error("cannot tell what SGX this node has: it is looked at again", "error", err)
			return nil
		}
		return changed(inv, p.For(inv))
	})
}
