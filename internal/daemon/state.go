package daemon

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
)

// State is what a daemon reports of itself at /statusz.
type State struct {
	Daemon     string           `json:"daemon"`
	Version    string           `json:"version"`
	Ready      bool             `json:"ready"`
	Conditions []ConditionState `json:"conditions"`
	*Settings
}

// Settings are what a daemon reports of itself to processes of the same pod or machine.
type Settings struct {
	Flags     map[string]string `json:"flags"`     // the values of all flags
	Variables map[string]string `json:"variables"` // those environment variables that matter to it and are set
	// Files identifies the tree of files that the daemon sees, its mount namespace. In
	// another one, paths may lead elsewhere.
	Files string `json:"files"`
}

// ConditionState is the state of a Condition.
type ConditionState struct {
	Name string `json:"name"`
	Met  bool   `json:"met"`
	// Reason is why the condition is not met or, if it is, what is wrong nevertheless.
	Reason string `json:"reason,omitempty"`
	// Advice is what to do about it, if the reason is an error with a method
	// Advice() string.
	Advice string `json:"advice,omitempty"`
}

// Files identifies the tree of files that this process sees. It is empty if that is not
// known.
func Files() string {
	namespace, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return ""
	}
	return namespace
}

// settingsShown are the flags and environment variables that a State reports.
type settingsShown struct {
	flags map[string]string

	mu    sync.Mutex
	names []string // of variables
}

// ShowVariables adds environment variables to what the daemon reports of itself. Their
// values must not be secrets; credentials in URLs are removed.
func (env *Environment) ShowVariables(names ...string) {
	env.shown.mu.Lock()
	defer env.shown.mu.Unlock()
	env.shown.names = append(env.shown.names, names...)
}

// valuesOf returns the values of all flags.
func valuesOf(flags *pflag.FlagSet) map[string]string {
	values := make(map[string]string)
	flags.VisitAll(func(f *pflag.Flag) { values[f.Name] = WithoutSecrets(f.Value.String()) })
	return values
}

// variables returns the values of the environment variables that are set.
func (s *settingsShown) variables() map[string]string {
	s.mu.Lock()
	names := slices.Clone(s.names)
	s.mu.Unlock()
	values := make(map[string]string)
	for _, name := range names {
		if value, set := os.LookupEnv(name); set {
			values[name] = WithoutSecrets(value)
		}
	}
	return values
}

// credentials matches what may be a secret in a URL, or in a proxy without a scheme: user
// and password, up to the last @, and the query.
var credentials = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)?[^/]*@|\?.*$`)

// WithoutSecrets removes what may be a secret from a value that may be a URL.
func WithoutSecrets(value string) string {
	return credentials.ReplaceAllStringFunc(value, func(secret string) string {
		if rest, isQuery := strings.CutPrefix(secret, "?"); isQuery && rest != "" {
			return "?…"
		}
		scheme, _, found := strings.Cut(secret, "://")
		switch {
		case !strings.HasSuffix(secret, "@"):
			return secret
		case found:
			return scheme + "://…@"
		}
		return "…@"
	})
}

// state returns the state of the daemon, with its settings if they are wanted.
func (env *Environment) state(settings bool) State {
	s := State{Daemon: env.name, Version: version()}
	s.Ready, s.Conditions = env.Health.states()
	if settings {
		s.Settings = &Settings{Flags: env.shown.flags, Variables: env.shown.variables(), Files: Files()}
	}
	return s
}

// serveState serves the state. Unlike /readyz it always succeeds: some proxies, such as
// the API server's, hide the body of an error.
func (env *Environment) serveState(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	here := err == nil && from.Addr().Unmap().IsLoopback()
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(env.state(here)) // an error means that the client is gone
}
