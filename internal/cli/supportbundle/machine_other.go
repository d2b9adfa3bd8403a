//go:build !linux

package supportbundle

// machine returns nothing: nodes run Linux.
func (s settings) machine() []part { return nil }
