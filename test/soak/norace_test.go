//go:build !race

package soak

// raceDetector reports whether this binary has the race detector, which needs extra
// memory.
const raceDetector = false
