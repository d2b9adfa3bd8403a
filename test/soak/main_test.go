// Package soak runs hostile clients and failing backends against the quote helper, for as
// long as wanted, and measures its performance.
//
// The helper is the real one, in its own process; only its quote backend is a test double.
// Its clients, good and hostile, are processes too: the test binary plays all roles, as its
// environment says. If the test may create cgroups, the clients run in cgroups named like
// those of pods, so that the helper distinguishes them as on a node.
package soak

import (
	"flag"
	"os"
	"testing"
	"time"
)

var soakFor = flag.Duration("soak", 3*time.Second, "how long TestSoak and TestFailureModes last")

// roleEnv is the environment variable with the role of a process.
const roleEnv = "CONFCOM_SOAK_ROLE"

// role is what a process does.
type role string

const (
	roleHelper  role = "helper"  // the quote helper, with a test double as its backend
	roleFloor   role = "floor"   // a minimal server to compare with
	roleClients role = "clients" // well-behaved clients
	roleHostile role = "hostile" // hostile clients
	roleGone    role = "gone"    // a hostile client that ends at once

	roleVerifier role = "verifier" // the verifier service
)

func TestMain(m *testing.M) {
	switch role(os.Getenv(roleEnv)) {
	case roleHelper:
		os.Exit(helperMain())
	case roleFloor:
		os.Exit(jobMain(floorServer))
	case roleClients:
		os.Exit(jobMain(askAll))
	case roleHostile:
		os.Exit(jobMain(harass))
	case roleGone:
		os.Exit(goneMain())
	case roleVerifier:
		os.Exit(verifierMain())
	}
	os.Exit(m.Run())
}
