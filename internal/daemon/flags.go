package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// settings are the values of the flags that all daemons have.
type settings struct {
	logLevel    choice
	logFormat   choice
	httpAddress string
	cluster     Networks
	version     bool
	help        bool
}

// declare adds the flags that all daemons have.
func declare(flags *pflag.FlagSet) *settings {
	s := &settings{
		logLevel:  choice{value: "info", of: []string{"debug", "info", "warn", "error"}},
		logFormat: choice{value: "auto", of: []string{"auto", "text", "json"}},
	}
	flags.Var(&s.logLevel, "log-level", "log lines of this level and above")
	flags.Var(&s.logFormat, "log-format", "format of log lines; auto is text on a terminal and JSON elsewhere")
	flags.StringVar(&s.httpAddress, "http-address", "",
		"serve /healthz, /readyz, /statusz and /metrics over HTTP on this `host:port`; empty for no HTTP")
	flags.Var(&s.cluster, "cluster-networks", "`networks` of the pods and nodes of a cluster with public IPv6 addresses, such as 2001:db8:42::/56: "+
		"each address in them counts as a client of its own. Elsewhere, a public IPv6 /64 network counts as one client")
	flags.BoolVar(&s.version, "version", false, "print the version and exit")
	flags.BoolVar(&s.help, "help", false, "print this help and exit")
	return s
}

// parse parses the command line. Its errors are meant for the person who typed it.
func parse(flags *pflag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s=%s: %w", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are accepted", flags.Arg(0))
	}
	return nil
}

// choice is the value of a flag with a fixed set of values.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.of, "|") }

func (c *choice) Set(value string) error {
	if !slices.Contains(c.of, value) {
		return fmt.Errorf("not one of %s", strings.Join(c.of, ", "))
	}
	c.value = value
	return nil
}
