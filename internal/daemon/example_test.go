package daemon_test

import (
	"context"
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
)

// A complete daemon, with a flag, a readiness condition and a graceful stop.
func Example() {
	configure := func(flags *pflag.FlagSet) daemon.Run {
		socket := flags.String("socket", "/run/example.sock", "where to serve")
		return func(ctx context.Context, env *daemon.Environment) error {
			serving := env.Health.Condition("serving")
			env.Log.Info("serving", "socket", *socket)
			serving.Set(nil)
			<-ctx.Done()
			return nil
		}
	}
	os.Exit(daemon.Main("sgx-example", "Serves an example.", configure))
}
