package main

import (
	"context"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
)

// idle waits until ctx is done, and reports so, if the machine has no SGX: there will be
// no quotes before it restarts. The helper is ready meanwhile, since nothing is wrong with
// a DaemonSet that runs on all nodes.
func idle(ctx context.Context, machine node.Machine, env *daemon.Environment) bool {
	inv, err := machine.Discover()
	if err != nil {
		env.Log.Warn("discover SGX failed, assuming that the machine has it", "error", err)
		return false
	}
	if !inv.SGXOff() {
		return false
	}
	verdict := inv.Verdict()
	env.Log.Warn("no SGX, serving no quotes", "problem", verdict.Problem, "advice", verdict.Advice)
	<-ctx.Done()
	return true
}
