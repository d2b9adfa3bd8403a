package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/internal/platform/upstream"
	"github.com/confcom/confcom/internal/quoting"
)

// platform is what makes the quotes, as the flags say.
type platform struct {
	name     platformName
	slots    int
	upstream string // its socket
	node     string
}

func (p *platform) addFlags(flags *pflag.FlagSet) {
	flags.Var(&p.name, "platform", "what makes the quotes: \"upstream\" is another AESM daemon, such as Intel's aesmd; \"simulated\" is an SGX platform in software, whose quotes prove nothing")
	flags.IntVar(&p.slots, "slots", 0, "how many requests the platform serves at a time; 0 for one per processor if it is simulated, and for 2 upstream, so that Intel's daemon, which works on one at a time, always has the next at hand")
	flags.StringVar(&p.upstream, "upstream-socket", "", "with --platform=upstream: the `path` of the other daemon's socket")
	flags.StringVar(&p.node, "node-name", hostname(), "with --platform=simulated: the `name` that its keys are derived from")
}

// open returns the platform and how many requests it serves at a time. It never
// falls back to another than was asked for.
func (p *platform) open(socket string, log *slog.Logger) (made quoting.Platform, slots int, err error) {
	if p.slots < 0 {
		return nil, 0, fmt.Errorf("--slots=%d: a platform serves at least one request at a time", p.slots)
	}
	switch p.name {
	case platformSimulated:
		log.Warn("SIMULATED platform: its quotes prove nothing", "node", p.node)
		slots = runtime.GOMAXPROCS(0)
		made, err = simulated.New(p.node)
	case platformUpstream:
		switch {
		case p.upstream == "":
			return nil, 0, errors.New("--platform=upstream needs --upstream-socket: the path of the other daemon's socket, which must be another than --socket")
		case sameSocket(p.upstream, socket):
			return nil, 0, fmt.Errorf("--upstream-socket=%s is --socket, too: have this program, or the other daemon, serve elsewhere", p.upstream)
		}
		slots = 2
		made = upstream.New(p.upstream, log)
	default:
		err = errors.New("no --platform: this version makes no quotes with SGX hardware by itself; for those of an AESM daemon that does, pass --platform=upstream; " +
			"for a platform in software, whose quotes prove nothing, pass --platform=simulated")
	}
	if p.slots > 0 {
		slots = p.slots
	}
	return made, slots, err
}

// sameSocket tells whether two paths are of one socket, be it by different names
// of its directory.
func sameSocket(a, b string) bool {
	a, b = linkTarget(a), linkTarget(b)
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	dirA, errA := os.Stat(filepath.Dir(a))
	dirB, errB := os.Stat(filepath.Dir(b))
	if errA != nil || errB != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	return os.SameFile(dirA, dirB)
}

// linkTarget returns what a link leads to, which need not be there yet, and any
// other path as it is.
func linkTarget(path string) string {
	target, err := os.Readlink(path)
	switch {
	case err != nil:
		return path
	case filepath.IsAbs(target):
		return target
	}
	return filepath.Join(filepath.Dir(path), target)
}

// platformName is the flag that says what makes the quotes.
type platformName string

const (
	platformSimulated platformName = "simulated"
	platformUpstream  platformName = "upstream"
)

func (p *platformName) String() string { return string(*p) }
func (p *platformName) Type() string   { return "platform" }

func (p *platformName) Set(value string) error {
	switch name := platformName(value); name {
	case platformSimulated, platformUpstream:
		*p = name
		return nil
	}
	return errors.New("unknown platform; those of this version are upstream and simulated")
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
