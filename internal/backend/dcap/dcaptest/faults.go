package dcaptest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The functions into which faults can be injected, and whose calls are counted.
const (
	Init   = "init"   // sgx_ql_init_quote, and sgx_qe_get_target_info through it
	Size   = "size"   // sgx_ql_get_quote_size
	Quote  = "quote"  // sgx_ql_get_quote
	Config = "config" // the provider's sgx_ql_get_quote_config
	Clear  = "clear"  // the provider's sgx_qpl_clear_cache; only counted
	// Any is the next call of Init, Size or Quote. It is not counted.
	Any = "any"
	// ConfigPPID is the calls of Config with the encrypted PPID. They are only
	// counted.
	ConfigPPID = "config-ppid"
)

// Faults is a directory in which the libraries look for faults at each call.
type Faults string

// Env returns what a process needs in its environment to take faults. Like all of
// these variables, it must be set when the library is loaded.
func (f Faults) Env() string { return "DCAPTEST_FAULTS=" + string(f) }

// The answers of a provider that it reports as a success.
var answers = []string{"null", "dangling", "after-503", "zero-tcb", "other-tcb", "no-certificate", "random", "tiny", "big", "other-platform"}

const duration = `-[0-9.]+(us|ms|s)`

var modes = regexp.MustCompile(`^(sticky-)?(segv|abort|exit|hang|hang` + duration + `|spin` + duration +
	`|error-e[0-9a-f]{3}|(status|retry)-[1-5][0-9]{2}|curl-[1-9][0-9]?|answer-(` + strings.Join(answers, "|") + `)|lost|lost-once|grow-[0-9]+|huge|short-size|garbage|handler|threads|stray-thread-segv)$`)

// Inject injects a fault into the next call of a function, in whichever process makes
// it. The failure modes are:
//
//	segv, abort, exit   the process ends
//	hang, hang-10s      the call never returns, or goes on after a while
//	spin-100ms          the call keeps a processor busy, and goes on
//	error-e011          the call returns this code
//	status-404, curl-7  the provider returns what Intel's does after this status of
//	                    HTTP, or this error of libcurl, and logs it
//	retry-503           the provider logs this status and asks again for ever
//	answer-null         the provider reports success, without a configuration
//	answer-dangling     the same, with one that was freed
//	answer-after-503    the same, with the text of an answer with the status 503
//	                    before the certificates
//	answer-zero-tcb, answer-other-tcb, answer-no-certificate, answer-random,
//	answer-tiny, answer-big, answer-other-platform
//	                    the same, with such data
//	lost-once           the call returns that the enclave is lost (0xE014)
//	lost                so does every call of the process from then on, until the
//	                    policy has been set to EPHEMERAL
//	grow-64             64 MiB of memory are used and never freed
//	huge                certification data has 12000 bytes from then on
//	short-size          Size returns 100 bytes too few
//	garbage             Quote returns random bytes
//	handler             a SIGSEGV handler without SA_ONSTACK is installed, and
//	                    recovers from one fault
//	threads             eight threads use C++ exceptions and thread_local variables
//	stray-thread-segv   another thread crashes when the call has returned
//
// With the prefix "sticky-", the fault is injected into every call of every process
// until it is cancelled. Faults that block hold the library's mutex meanwhile.
func (f Faults) Inject(function, mode string) (Fault, error) {
	var refused bool
	switch plain := strings.TrimPrefix(mode, "sticky-"); plain {
	case "short-size":
		refused = function != Size
	case "garbage":
		refused = function != Quote
	case "lost", "huge", "stray-thread-segv":
		refused = function == Config
	default:
		if kind, _, _ := strings.Cut(plain, "-"); slices.Contains([]string{"answer", "status", "retry", "curl"}, kind) {
			refused = function != Config
		}
	}
	switch function {
	case Init, Size, Quote, Config, Any:
	default:
		refused = true
	}
	if refused || !modes.MatchString(mode) {
		return "", fmt.Errorf("dcaptest: %q is not a failure mode of %q", mode, function)
	}
	// The end of the name makes it unique; the libraries ignore it.
	file, err := os.CreateTemp(string(f), function+"."+mode+".*")
	if err != nil {
		return "", fmt.Errorf("dcaptest: %w", err)
	}
	return Fault(file.Name()), file.Close()
}

// Fault is a fault that is to be injected: a file, until a process takes it.
type Fault string

// Taken reports whether a process has taken the fault. A sticky one is never taken.
func (f Fault) Taken() bool {
	_, err := os.Stat(string(f))
	return errors.Is(err, fs.ErrNotExist)
}

// Cancel withdraws the fault, unless a process has taken it.
func (f Fault) Cancel() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dcaptest: %w", err)
	}
	return nil
}

// Counters is a directory in which the libraries count their calls.
type Counters string

// Env returns what a process needs in its environment to count its calls.
func (c Counters) Env() string { return "DCAPTEST_COUNTERS=" + string(c) }

// Calls returns the number of calls of a function by each process, by its PID.
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

// Count returns the number of calls of a function by all processes.
func (c Counters) Count(function string) (int, error) {
	calls, err := c.Calls(function)
	n := 0
	for _, m := range calls {
		n += m
	}
	return n, err
}

// Delay returns what a process needs in its environment to take d longer for each
// quote.
func Delay(d time.Duration) string { return fmt.Sprintf("DCAPTEST_DELAY=%dus", d.Microseconds()) }
