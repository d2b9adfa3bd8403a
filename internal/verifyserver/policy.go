package verifyserver

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/confcom/confcom/attest"
)

// PolicyFile is an appraisal policy in a file, which is read again when it changes.
type PolicyFile struct {
	path    string
	log     *slog.Logger
	changed func(error) // see ReadPolicy

	mu     sync.Mutex
	seen   fs.FileInfo // of the file that was read last
	polled time.Time
	policy attest.Policy
}

// pollInterval is the shortest time between two checks for a change of the file.
const pollInterval = time.Second

// ReadPolicy reads a policy. It calls changed after each later change of the file, with
// nil or with the error that makes the new policy unusable; the last good policy stays in
// force then.
func ReadPolicy(path string, log *slog.Logger, changed func(error)) (*PolicyFile, error) {
	p := &PolicyFile{path: path, log: log, changed: changed}
	return p, p.read()
}

func (p *PolicyFile) read() error {
	info, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	p.seen, p.polled = info, time.Now()
	policy, err := attest.ParsePolicy(text)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	p.policy = policy
	return nil
}

// Policy returns the policy in force.
func (p *PolicyFile) Policy() attest.Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.polled) < pollInterval {
		return p.policy
	}
	p.polled = time.Now()
	info, err := os.Stat(p.path)
	if err == nil && os.SameFile(info, p.seen) && info.ModTime().Equal(p.seen.ModTime()) && info.Size() == p.seen.Size() {
		return p.policy
	}
	if err == nil {
		err = p.read()
	}
	if p.changed(err); err != nil {
		p.log.Warn("reload policy failed: keeping the last one", "error", err)
	} else {
		p.log.Info("policy reloaded", "file", p.path)
	}
	return p.policy
}
