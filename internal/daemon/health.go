package daemon

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Health has the conditions that must all be met for a daemon to be ready. The zero
// value has none and is ready.
type Health struct {
	mu         sync.Mutex
	conditions []*Condition
}

// Condition adds a condition that is not met until Set(nil). Conditions are reported
// in the order in which they were added.
func (h *Health) Condition(name string) *Condition {
	c := &Condition{name: name, unmet: errors.New("not reached yet")}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conditions = append(h.conditions, c)
	return c
}

// Condition is one thing that a daemon needs to be ready.
type Condition struct {
	name string

	mu    sync.Mutex
	unmet error
	note  error
}

// Set records that the condition is met, if unmet is nil, or why it is not.
func (c *Condition) Set(unmet error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmet, c.note = unmet, nil
}

// Note records that the condition is met, and what is wrong although it is.
func (c *Condition) Note(note error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmet, c.note = nil, note
}

// Unmet returns why the condition is not met, or nil if it is.
func (c *Condition) Unmet() error {
	unmet, _ := c.state()
	return unmet
}

// state returns why the condition is not met, if it is not, and what is noted if it is.
func (c *Condition) state() (unmet, note error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unmet, c.note
}

// report reports whether all conditions are met, and returns a line for each in the
// notation of the Kubernetes components.
func (h *Health) report() (ready bool, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	ready = true
	for _, c := range h.conditions {
		switch unmet, note := c.state(); {
		case unmet != nil:
			ready = false
			fmt.Fprintf(&b, "[-] %s: %v\n", c.name, unmet)
		case note != nil:
			fmt.Fprintf(&b, "[+] %s: %v\n", c.name, note)
		default:
			fmt.Fprintf(&b, "[+] %s\n", c.name)
		}
	}
	return ready, b.String()
}
