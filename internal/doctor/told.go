package doctor

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/daemon"
)

// Ask returns what a daemon of confcom that serves HTTP at an address reports of itself. It
// returns nil if there is none.
func Ask(ctx context.Context, address string) *daemon.State {
	state, err := daemon.AskState(ctx, address)
	if err != nil {
		return nil // nothing serves there, or something else
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil || !ownPort(port, "/proc/self/net/tcp", "/proc/self/net/tcp6") {
		state.Settings = nil
	}
	return &state
}

// ownPort reports whether nobody but this user and root listens on a port here. The
// settings of a daemon of another user are not believed: they name files that are read
// with the rights of this process, and end up in support bundles. The tables are those of
// proc_pid_net(5).
func ownPort(port string, tables ...string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return false
	}
	const listening = "0A"
	found := false
	for _, table := range tables {
		text, err := os.ReadFile(table)
		if err != nil {
			continue // such as without IPv6
		}
		for line := range strings.Lines(string(text)) {
			// number, local address, remote address, state, queues, timer, retransmits, user
			fields := strings.Fields(line)
			if len(fields) < 8 || fields[3] != listening || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) {
				continue
			}
			if fields[7] != "0" && fields[7] != strconv.Itoa(os.Geteuid()) {
				return false
			}
			found = true
		}
	}
	return found
}

// Adopted returns the flags of the quote helper that say where to look. They apply where
// its files are also those of this process.
func Adopted(told *daemon.State) map[string]string {
	if !sees(told) {
		return nil
	}
	flags := make(map[string]string)
	for _, name := range []string{"socket", "dcap-library", "dcap-provider", "enclave-dir", "qcnl-config", "worker-program", "certificates-dir", "certificates-timeout", "sysroot", "simulate-epc", "simulate-device"} {
		if value, has := told.Flags[name]; has {
			flags[name] = value
		}
	}
	return flags
}

// platform returns the platform of the quote helper here, empty if there is none.
func (d *Doctor) platform() string {
	if d.Told == nil || d.Told.Settings == nil {
		return ""
	}
	return d.Told.Flags["platform"]
}

// variable returns an environment variable of the quote helper here or, if there is none,
// of this process.
func (d *Doctor) variable(name string) (value string, set bool) {
	if sees(d.Told) && d.Told.Daemon == helperName {
		value, set = d.Told.Variables[name]
		if !strings.Contains(value, "…") {
			return value, set
		}
		// A secret was left out. This process usually has the same environment.
	}
	return os.LookupEnv(name)
}

// Examined says what is examined, and as which user.
func (d *Doctor) Examined() string {
	who := fmt.Sprintf("as user %d in groups %v", os.Getuid(), groups())
	switch d.Place {
	case Helper:
		if d.Told == nil {
			return "the quote helper's pod, " + who
		}
		return "what " + d.Told.Daemon + " uses here, with its flags, " + who
	case OtherDaemon:
		return "the pod of another daemon than the quote helper, " + who
	case Application:
		return "the pod of an application, " + who
	}
	if root := d.Machine.Sysroot; root != "/" {
		return "the machine at " + root + ", " + who
	}
	return "this machine, " + who
}

// helper reports what the daemon here was told, and what it lacks.
func (d *Doctor) helper(context.Context) Check {
	if d.Told == nil {
		return skipped("no daemon of confcom reports its state here")
	}
	seen := d.Told.Daemon + " " + d.Told.Version
	if platform := d.platform(); platform != "" {
		seen += " with --platform=" + platform
	}
	if reasons, advice := d.lacks(); reasons != "" {
		return problem(seen+" is not ready: "+reasons, advice)
	}
	for _, c := range d.Told.Conditions {
		if c.Reason != "" {
			return warning(fmt.Sprintf("%s is ready, but %s: %s", seen, c.Name, c.Reason), adviceOf(c))
		}
	}
	return ok(seen + " is ready")
}

// lacks returns the conditions that the daemon here does not meet, with their reasons, and
// what to do. Both are empty if it is ready.
func (d *Doctor) lacks() (reasons, advice string) {
	if d.Told == nil {
		return "", ""
	}
	for _, c := range d.Told.Conditions {
		if c.Met {
			continue
		}
		if reasons == "" {
			reasons, advice = c.Name+": "+c.Reason, adviceOf(c)
		} else {
			reasons += "; " + c.Name + ": " + c.Reason
			advice += "; " + adviceOf(c)
		}
	}
	return reasons, advice
}

func adviceOf(c daemon.ConditionState) string {
	if c.Advice != "" {
		return c.Advice
	}
	return "see the daemon's log for the line about " + c.Name
}

// checkNamed matches the name of a check in advice.
var checkNamed = regexp.MustCompile(`--check=([a-z]+)`)

// passOn adds the cause that the quote helper reports to the check that its advice names,
// if no check has found it.
func (d *Doctor) passOn(done []Check) []Check {
	reasons, advice := d.lacks()
	if slices.ContainsFunc(done, func(c Check) bool { return c.Verdict == Problem }) {
		return done
	}
	for _, m := range checkNamed.FindAllStringSubmatch(reasons+" "+advice, -1) {
		for i, c := range done {
			if c.Name == m[1] && c.Verdict != Problem && c.Name != helperCheck && c.Name != quoteCheck {
				done[i] = problem(c.Seen+"; but the quote helper reports "+reasons, advice)
				done[i].Name = c.Name
			}
		}
	}
	return done
}
