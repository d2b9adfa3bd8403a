// Sgx-quote-helper makes quotes for all enclaves of a node, out of their
// processes, over Intel's AESM protocol on a unix socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quotehelper"
)

func main() {
	os.Exit(daemon.Main("sgx-quote-helper", "Makes attestation quotes for the SGX enclaves of this node, over AESM.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var platform platform
	platform.addFlags(flags)
	var helper quotehelper.Helper
	flags.StringVar(&helper.Socket, "socket", aesm.DefaultSocket, "serve on the unix socket at this `path`")
	flags.BoolVar(&helper.TakeOver, "takeover", false, "take the socket over from a daemon that is alive, as soon as there are quotes here; that one serves whoever has come to it before")
	flags.BoolVar(&helper.StandBy, "stand-by", false, "when another daemon has taken the socket over, wait and take it again should that one die, rather than exit")

	return func(ctx context.Context, env *daemon.Environment) error {
		opened, err := platform.open(helper.Socket, env)
		if err != nil {
			return err
		}
		defer opened.close()
		helper.Backend, helper.Concurrency = opened.Backend, opened.slots
		err = helper.Run(ctx, env)
		if errors.Is(err, aesm.ErrInUse) {
			err = fmt.Errorf("%w (--takeover takes over)", err)
		}
		return err
	}
}
