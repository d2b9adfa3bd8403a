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

// PolicyFile is a policy in a file. When that changes, it is read again.
type PolicyFile struct {
	path    string
	log     *slog.Logger
	changed func(error) // told of each change, with why it was not taken

	mu     sync.Mutex
	seen   fs.FileInfo
	looked time.Time
	policy attest.Policy
}

// lookInterval is how often a file is looked at, at most.
const lookInterval = time.Second

// ReadPolicy reads a policy, and reads it again from then on. Changed is told of each
// change, and why it was not taken, if so: then the policy of before holds.
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
	p.seen, p.looked = info, time.Now()
	policy, err := attest.ParsePolicy(text)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	p.policy = policy
	return nil
}

// Policy is what holds. It has to be read first.
func (p *PolicyFile) Policy() attest.Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) < lookInterval {
		return p.policy
	}
	p.looked = time.Now()
	info, err := os.Stat(p.path)
	if err == nil && os.SameFile(info, p.seen) && info.ModTime().Equal(p.seen.ModTime()) && info.Size() == p.seen.Size() {
		return p.policy
	}
	if err == nil {
		err = p.read()
	}
	if p.changed(err); err != nil {
		p.log.Warn("the policy has changed, and cannot be read: that of before holds", "error", err)
	} else {
		p.log.Info("the policy has changed", "file", p.path)
	}
	return p.policy
}
