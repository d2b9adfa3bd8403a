package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Health has the conditions that must all be met for a daemon to be ready. The zero
// value has none and is ready.
type Health struct {
	metrics *Metrics // may be nil

	mu         sync.Mutex
	conditions []*Condition
}

// Condition adds a condition that is not met until Set(nil). Conditions are reported
// in the order in which they were added.
func (h *Health) Condition(name string) *Condition {
	c := &Condition{name: name, metrics: h.metrics}
	c.Set(errors.New("not reached yet"))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conditions = append(h.conditions, c)
	return c
}

// Condition is one thing that a daemon needs to be ready.
type Condition struct {
	name    string
	metrics *Metrics

	mu    sync.Mutex
	unmet error
	note  error
}

// Set records that the condition is met, if unmet is nil, or why it is not.
func (c *Condition) Set(unmet error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmet, c.note = unmet, nil
	c.metrics.condition(c.name, unmet == nil)
}

// Note records that the condition is met, and what is wrong although it is.
func (c *Condition) Note(note error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmet, c.note = nil, note
	c.metrics.condition(c.name, true)
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

// states reports whether all conditions are met, and returns the state of each.
func (h *Health) states() (ready bool, states []ConditionState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ready = true
	for _, c := range h.conditions {
		unmet, note := c.state()
		state := ConditionState{Name: c.name, Met: unmet == nil}
		if reason := cmp.Or(unmet, note); reason != nil {
			state.Reason = reason.Error()
			if advised, ok := errors.AsType[interface {
				error
				Advice() string
			}](reason); ok {
				state.Advice = advised.Advice()
			}
		}
		ready = ready && state.Met
		states = append(states, state)
	}
	return ready, states
}

// report reports whether all conditions are met, and returns a line for each in the
// notation of the Kubernetes components.
func (h *Health) report() (ready bool, text string) {
	ready, states := h.states()
	var b strings.Builder
	for _, c := range states {
		mark, reason := '-', ""
		if c.Met {
			mark = '+'
		}
		if c.Reason != "" {
			reason = ": " + c.Reason
		}
		if !strings.Contains(c.Reason, c.Advice) {
			reason += ": " + c.Advice
		}
		fmt.Fprintf(&b, "[%c] %s%s\n", mark, c.Name, reason)
	}
	return ready, b.String()
}
