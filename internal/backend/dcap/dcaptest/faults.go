package dcaptest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The functions that can be ordered about and counted.
const (
	Init   = "init"   // sgx_ql_init_quote, and sgx_qe_get_target_info by it
	Size   = "size"   // sgx_ql_get_quote_size
	Quote  = "quote"  // sgx_ql_get_quote
	Config = "config" // the provider's sgx_ql_get_quote_config
	// Any is whichever of Init, Size and Quote is called next. It is not counted.
	Any = "any"
	// ConfigPPID are those calls of Config that tell the encrypted PPID. It is only
	// counted.
	ConfigPPID = "config-ppid"
)

// Commands is a directory in which the libraries look for orders at each call.
type Commands string

// Env is what a process needs in its environment to follow the orders. Like all of
// these variables it must be there when the library is loaded.
func (c Commands) Env() string { return "DCAPSTUB_COMMANDS=" + string(c) }

const duration = `-[0-9.]+(us|ms|s)`

var orders = regexp.MustCompile(`^(sticky-)?(segv|abort|exit|hang|hang` + duration + `|spin` + duration +
	`|error-e[0-9a-f]{3}|lost|lost-once|grow-[0-9]+|huge|short-size|garbage|handler|threads|stray-thread-segv)$`)

// Order gives an order to the next call of a function, in whichever process that
// is:
//
//	segv, abort, exit   the process ends
//	hang, hang-10s      the call never returns, or goes on after a while
//	spin-100ms          the call keeps a processor busy, and goes on
//	error-e011          the call answers this code
//	lost-once           the call answers that the enclave is lost (0xE014)
//	lost                so does every call of the process from now on, until the
//	                    policy was set to EPHEMERAL
//	grow-64             64 MiB of memory are used and never freed
//	huge                certification data has 12000 bytes from now on
//	short-size          Size tells 100 bytes too few
//	garbage             Quote returns random bytes
//	handler             a SIGSEGV handler without SA_ONSTACK is installed, and
//	                    recovers from one fault
//	threads             eight threads use C++ exceptions and thread_local variables
//	stray-thread-segv   another thread faults when the call has returned
//
// With "sticky-" in front, every call of every process follows it until it is
// cancelled. What blocks holds the library's mutex meanwhile.
func (c Commands) Order(function, what string) (Order, error) {
	var refused bool
	switch plain := strings.TrimPrefix(what, "sticky-"); plain {
	case "short-size":
		refused = function != Size
	case "garbage":
		refused = function != Quote
	case "lost", "huge", "stray-thread-segv":
		refused = function == Config
	}
	switch function {
	case Init, Size, Quote, Config, Any:
	default:
		refused = true
	}
	if refused || !orders.MatchString(what) {
		return "", fmt.Errorf("dcaptest: %q is no order to %q", what, function)
	}
	// The tail of the name makes it unique; the libraries do not look at it.
	file, err := os.CreateTemp(string(c), function+"."+what+".*")
	if err != nil {
		return "", fmt.Errorf("dcaptest: %w", err)
	}
	return Order(file.Name()), file.Close()
}

// Order is an order that was given: a file, until a process takes it.
type Order string

// Taken says whether a process has taken the order. A sticky one is never taken.
func (o Order) Taken() bool {
	_, err := os.Stat(string(o))
	return errors.Is(err, fs.ErrNotExist)
}

// Cancel takes the order back, unless a process has taken it.
func (o Order) Cancel() error {
	if err := os.Remove(string(o)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dcaptest: %w", err)
	}
	return nil
}

// Counters is a directory in which the libraries count their calls.
type Counters string

// Env is what a process needs in its environment for its calls to be counted.
func (c Counters) Env() string { return "DCAPSTUB_COUNTERS=" + string(c) }

// Calls returns how often each process has called a function, by its PID.
func (c Counters) Calls(function string) (map[int]int, error) {
	files, err := os.ReadDir(string(c))
	if err != nil {
		return nil, fmt.Errorf("dcaptest: %w", err)
	}
	calls := make(map[int]int)
	for _, f := range files {
		pid, err := strconv.Atoi(strings.TrimPrefix(f.Name(), function+"-"))
		if err != nil {
			continue // of another function
		}
		info, err := os.Stat(filepath.Join(string(c), f.Name()))
		if err != nil {
			return nil, fmt.Errorf("dcaptest: %w", err)
		}
		calls[pid] = int(info.Size())
	}
	return calls, nil
}

// Count returns how often all processes have called a function.
func (c Counters) Count(function string) (int, error) {
	calls, err := c.Calls(function)
	n := 0
	for _, m := range calls {
		n += m
	}
	return n, err
}

// Delay is what a process needs in its environment for each quote to take d longer.
func Delay(d time.Duration) string { return fmt.Sprintf("DCAPSTUB_DELAY=%dus", d.Microseconds()) }
