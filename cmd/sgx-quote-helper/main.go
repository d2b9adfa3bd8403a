// Sgx-quote-helper makes quotes for all enclaves of a node, out of their
// processes, over Intel's AESM protocol on a unix socket.
package main

import (
	"context"
	"os"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quoting"
)

func main() {
	os.Exit(daemon.Main("sgx-quote-helper", "Makes attestation quotes for the SGX enclaves of this node, over AESM.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var platform platformName
	flags.Var(&platform, "platform", "what makes the quotes; \"simulated\" is an SGX platform in software, whose quotes prove nothing")
	socket := flags.String("socket", aesm.DefaultSocket, "serve on the unix socket at this `path`")
	node := flags.String("node-name", hostname(), "the `name` that the simulated platform derives its keys from")

	return func(ctx context.Context, env *daemon.Environment) error {
		serving := env.Health.Condition("socket")
		platform, err := platform.open(*node, env.Log)
		if err != nil {
			return err
		}
		listener, err := aesm.Listen(*socket)
		if err != nil {
			return err
		}
		serving.Set(nil)
		env.Log.Info("serving quotes", "socket", *socket)
		server := aesm.Server{
			Handler: quoting.NewService(platform, runtime.GOMAXPROCS(0)),
			Observe: quoting.Log(env.Log),
		}
		return server.Serve(ctx, listener)
	}
}

// hostname returns the name of this node, as the pod's manifest or the machine
// has it.
func hostname() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
