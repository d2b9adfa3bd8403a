// Sgx-quote-helper makes quotes for all enclaves of a node, outside their
// processes, over Intel's AESM protocol on a unix socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/qcnl"
	"github.com/confcom/confcom/internal/quotehelper"
)

func main() {
	os.Exit(daemon.Main("sgx-quote-helper", "Makes attestation quotes for this node's SGX enclaves, over AESM (Architectural Enclave\nService Manager), Intel's protocol for quotes.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var backend backendFlags
	backend.add(flags)
	var helper quotehelper.Helper
	flags.StringVar(&helper.Socket, "socket", aesm.DefaultSocket, "serve on the unix socket at this `path`")
	flags.BoolVar(&helper.TakeOver, "takeover", false, "replace a running daemon's socket once this daemon can produce quotes; the old daemon finishes the connections it has accepted")
	flags.BoolVar(&helper.StandBy, "stand-by", false, "when another daemon has taken over the socket, wait and take it back when that daemon ends, instead of exiting")
	flags.BoolVar(&helper.RefuseUnidentified, "refuse-unidentified", false, "refuse quotes to callers that cannot be identified, such as processes that have ended; otherwise all of them share a small part of the limits")
	flags.StringVar(&helper.KubeletCgroup, "kubelet-cgroup", "", "the cgroup below which the kubelet creates those of pods, such as /kubepods.slice; empty to learn it from the helper's own cgroup")
	flags.StringVar(&helper.PodLogs, "pod-logs", "", "the `directory` where the kubelet keeps the logs of pods, /var/log/pods: the names of its directories give the audit log the names of pods; no log is read")
	idleWithoutSGX := flags.Bool("idle-without-sgx", false, "on a machine whose processor has no SGX, or has it switched off, wait and be ready, without a socket")

	return func(ctx context.Context, env *daemon.Environment) error {
		env.ShowVariables(qcnl.Variables()...)
		if *idleWithoutSGX && idle(ctx, node.Machine{}, env) {
			return nil
		}
		opened, err := backend.open(helper.Socket, env)
		if err != nil {
			return err
		}
		defer opened.close()
		helper.Backend, helper.Concurrency = opened.Backend, opened.concurrency
		err = helper.Run(ctx, env)
		if errors.Is(err, aesm.ErrInUse) {
			err = fmt.Errorf("%w (--takeover takes over)", err)
		}
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (%s)", err, notWritable(filepath.Dir(helper.Socket)))
		}
		return err
	}
}
