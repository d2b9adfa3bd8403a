package dcap

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// A worker that does not start has its last lines logged.
func TestLastLines(t *testing.T) {
	log, out := testLog()
	s := &supervisor{backend: &Backend{config: testConfig(t, 1, "late log")}, log: log}
	if _, _, err := s.start(t.Context()); !errors.Is(err, quote3.EnclaveLoadError) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "the cause") {
		t.Errorf("logged %q", out)
	}
}

// The end of a worker does not wait for the end of what it has started.
func TestChildOfWorker(t *testing.T) {
	log, _ := testLog()
	p, err := startProcess(testConfig(t, 1, "child"), log)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	pid, err := strconv.Atoi(p.lastError)
	if err != nil {
		t.Fatalf("last line: %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the child has ended before: %v", err)
	}
	if why, _ := p.end(); why != reasonCrash {
		t.Errorf("ended for %s", why)
	}
}
