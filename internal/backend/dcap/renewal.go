package dcap

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// renewal tells when a worker that works is to be replaced.
type renewal struct {
	seen    files // that had changed at the last look
	backOff time.Duration
	after   time.Time // not before
}

// when tells whether a worker is to be replaced, and why. Files that have changed
// must be the same at two looks, as a package is not installed at once.
func (r *renewal) when(s *slot, w *worker) (end, bool) {
	now := w.files.look()
	changed := !now.equal(w.files)
	stable := changed && now.equal(r.seen)
	if changed && !stable {
		r.after = time.Time{} // what did not start may now
	}
	r.seen = now
	if time.Now().Before(r.after) {
		return "", false
	}
	switch {
	case stable:
		return endUpdate, true
	case !changed && s.MemoryLimit > 0 && residentMemory(w.cmd.Process.Pid) > s.MemoryLimit:
		return endMemory, true
	}
	return "", false
}

// failed puts the next attempt off.
func (r *renewal) failed() {
	const first, most = 5 * time.Second, 5 * time.Minute
	r.backOff = min(max(2*r.backOff, first), most)
	r.after = time.Now().Add(r.backOff)
}

// residentMemory is how much memory a process has resident, in bytes; 0 where it
// cannot be told.
func residentMemory(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
