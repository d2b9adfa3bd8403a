// Package soak has the quote helper bear what a node can do to it, for as long as
// is wanted, and measures it.
//
// The helper is the real one in a process of its own; only what makes the quotes
// is a stand-in. Its clients, the good and the hostile, are processes, too: the
// test binary plays all parts, as the environment says. Where the test may make
// cgroups, the clients are in cgroups named as those of pods, so that the helper
// tells them apart as it does on a node.
package soak

import (
	"flag"
	"os"
	"testing"
	"time"
)

var soakFor = flag.Duration("soak", 3*time.Second, "how long TestSoak and TestMoods last")

// roleEnv says which part a process has to play.
const roleEnv = "CONFCOM_SOAK_ROLE"

// role is the part of a process.
type role string

const (
	roleHelper  role = "helper"  // the quote helper, on a stand-in platform
	roleFloor   role = "floor"   // the least that a server can do
	roleClients role = "clients" // who asks for quotes as one should
	roleHostile role = "hostile" // and who does not
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
	}
	os.Exit(m.Run())
}
