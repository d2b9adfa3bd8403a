package quotehelper

import (
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		files uint64
		want  limits
	}{
		{math.MaxUint64, limits{4096, 1024}}, // unlimited
		{1 << 20, limits{4096, 1024}},
		{20_000, limits{4096, 1024}},
		{4096, limits{3328, 512}},
		{1024, limits{640, 128}},
		{256, limits{160, 32}},
	} {
		got, err := limitsOf(tt.files)
		if err != nil || got != tt.want {
			t.Errorf("%d files: %+v, %v, want %+v", tt.files, got, err, tt.want)
		}
		if uint64(got.connections+got.processes) >= tt.files {
			t.Errorf("%d files: %+v are too many", tt.files, got)
		}
	}
	if _, err := limitsOf(minFiles - 1); err == nil || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
		t.Errorf("too few files: %v", err)
	}
}

// printFileLimit makes this test binary print its limit.
const printFileLimit = "CONFCOM_TEST_FILE_LIMIT"

// The soft limit is raised to the hard limit.
func TestFileLimitIsRaised(t *testing.T) {
	if os.Getenv(printFileLimit) != "" {
		n, err := fileLimit()
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("limit " + strconv.FormatUint(n, 10) + "\n")
		return
	}
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil || own.Max < 512 {
		t.Skip("NOT RUN: the limit of open files is too low")
	}
	child := exec.Command("sh", "-c", `ulimit -Sn 256; ulimit -Hn 512; exec "$0" -test.run='^TestFileLimitIsRaised$'`, os.Args[0])
	child.Env = append(os.Environ(), printFileLimit+"=1")
	out, err := child.CombinedOutput()
	// Some versions of Go stop one short.
	if err != nil || !strings.Contains(string(out), "limit 512\n") && !strings.Contains(string(out), "limit 511\n") {
		t.Errorf("%v, %s", err, out)
	}
}
