package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/backend/upstream"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quoting"
)

// backendFlags choose and configure the quote backend.
type backendFlags struct {
	platform    platform
	concurrency int
	upstream    string // the socket of the upstream daemon
	node        string // the name that a simulated platform's keys are derived from
	dcap        config.Config
}

func (b *backendFlags) add(flags *pflag.FlagSet) {
	flags.Var(&b.platform, "platform", "the quote backend: \"dcap\" is Intel's DCAP (Data Center Attestation Primitives) library, on SGX hardware; \"upstream\" is another AESM daemon, such as Intel's aesmd; \"simulated\" is an SGX platform in software, whose quotes prove nothing")
	flags.IntVar(&b.concurrency, "slots", 0, "how many requests the backend serves at a time; 0 for one per worker with dcap, one per processor with simulated, and 2 with upstream, so that Intel's daemon, which works on one at a time, always has the next one ready")
	flags.StringVar(&b.upstream, "upstream-socket", "", "with --platform=upstream: the `path` of the other daemon's socket")
	flags.StringVar(&b.node, "node-name", hostname(), "with --platform=simulated: the `name` that its keys are derived from")
	addDCAPFlags(flags, &b.dcap)
}

// opened is a backend that is ready for requests.
type opened struct {
	quoting.Backend
	concurrency int // how many requests it serves at a time
	close       func()
}

// open returns the backend. It never falls back to another one than --platform says.
func (b *backendFlags) open(socket string, env *daemon.Environment) (opened, error) {
	if b.concurrency < 0 {
		return opened{}, fmt.Errorf("--slots=%d: must be at least 1, or 0 for the default", b.concurrency)
	}
	o, err := b.openPlatform(socket, env)
	if b.concurrency > 0 {
		o.concurrency = b.concurrency
	}
	return o, err
}

func (b *backendFlags) openPlatform(socket string, env *daemon.Environment) (opened, error) {
	nothing := func() {}
	switch b.platform {
	case platformDCAP:
		return openDCAP(b.dcap, env)
	case platformSimulated:
		env.Log.Warn("SIMULATED platform: its quotes prove nothing", "node", b.node)
		simulation, err := simulated.New(b.node)
		return opened{simulation, runtime.GOMAXPROCS(0), nothing}, err
	case platformUpstream:
		switch {
		case b.upstream == "":
			return opened{}, errors.New("--platform=upstream needs --upstream-socket: the path of the other daemon's socket, which must differ from --socket")
		case sameSocket(b.upstream, socket):
			return opened{}, fmt.Errorf("--upstream-socket=%s is the same socket as --socket: this program or the other daemon must serve on another one", b.upstream)
		}
		return opened{upstream.New(b.upstream, env.Log), 2, nothing}, nil
	}
	return opened{}, errors.New("no --platform: pass --platform=dcap for quotes from the SGX hardware of this node, --platform=upstream for those of another AESM daemon, " +
		"or --platform=simulated for a platform in software, whose quotes prove nothing")
}

// hostname returns the name of this node: that in the pod's manifest, or that of the
// machine.
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
