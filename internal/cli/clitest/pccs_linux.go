package clitest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/attesttest"
)

// ServePCCS runs a PCCS with the collateral of simulated platforms until the test ends,
// and returns its URL.
func ServePCCS(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(PCCS(t))
	t.Cleanup(server.Close)
	return server.URL
}

// PCCS returns the handler of such a PCCS.
func PCCS(t testing.TB) http.Handler {
	t.Helper()
	c, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return attesttest.Handler(c)
}
