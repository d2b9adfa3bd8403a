//go:build race

package soak

// raceDetector tells whether this binary has the race detector, which takes
// memory of its own.
const raceDetector = true
