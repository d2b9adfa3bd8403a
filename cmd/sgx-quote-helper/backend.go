package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/backend/upstream"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quoting"
)

// platform is what makes the quotes, as the flags say.
type platform struct {
	name     platformName
	slots    int
	upstream string // its socket
	node     string
	dcap     dcapFlags
}

func (p *platform) addFlags(flags *pflag.FlagSet) {
	flags.Var(&p.name, "platform", "what makes the quotes: \"dcap\" is Intel's DCAP library, on SGX hardware; \"upstream\" is another AESM daemon, such as Intel's aesmd; \"simulated\" is an SGX platform in software, whose quotes prove nothing")
	flags.IntVar(&p.slots, "slots", 0, "how many requests the platform serves at a time; 0 for one per worker with dcap, one per processor if it is simulated, and 2 upstream, so that Intel's daemon, which works on one at a time, always has the next at hand")
	flags.StringVar(&p.upstream, "upstream-socket", "", "with --platform=upstream: the `path` of the other daemon's socket")
	flags.StringVar(&p.node, "node-name", hostname(), "with --platform=simulated: the `name` that its keys are derived from")
	p.dcap.add(flags)
}

// opened is a platform that is ready to be asked.
type opened struct {
	quoting.Backend
	slots int // how many requests it serves at a time
	close func()
}

// open returns the platform. It never falls back to another than was asked for.
func (p *platform) open(socket string, env *daemon.Environment) (opened, error) {
	if p.slots < 0 {
		return opened{}, fmt.Errorf("--slots=%d: a platform serves at least one request at a time", p.slots)
	}
	o, err := p.openNamed(socket, env)
	if p.slots > 0 {
		o.slots = p.slots
	}
	return o, err
}

func (p *platform) openNamed(socket string, env *daemon.Environment) (opened, error) {
	nothing := func() {}
	switch p.name {
	case platformDCAP:
		return p.dcap.open(env)
	case platformSimulated:
		env.Log.Warn("SIMULATED platform: its quotes prove nothing", "node", p.node)
		simulation, err := simulated.New(p.node)
		return opened{simulation, runtime.GOMAXPROCS(0), nothing}, err
	case platformUpstream:
		switch {
		case p.upstream == "":
			return opened{}, errors.New("--platform=upstream needs --upstream-socket: the path of the other daemon's socket, which must be another than --socket")
		case sameSocket(p.upstream, socket):
			return opened{}, fmt.Errorf("--upstream-socket=%s is --socket, too: have this program, or the other daemon, serve elsewhere", p.upstream)
		}
		return opened{upstream.New(p.upstream, env.Log), 2, nothing}, nil
	}
	return opened{}, errors.New("no --platform: for quotes with the SGX hardware of this node, pass --platform=dcap; for those of an AESM daemon that makes them, --platform=upstream; " +
		"for a platform in software, whose quotes prove nothing, --platform=simulated")
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
	platformDCAP      platformName = "dcap"
	platformSimulated platformName = "simulated"
	platformUpstream  platformName = "upstream"
)

func (p *platformName) String() string { return string(*p) }
func (p *platformName) Type() string   { return "platform" }

func (p *platformName) Set(value string) error {
	switch name := platformName(value); name {
	case platformDCAP, platformSimulated, platformUpstream:
		*p = name
		return nil
	}
	return errors.New("unknown platform; those that there are: dcap, upstream and simulated")
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
