package pcs_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/sgx/simulation"
)

// Collateral that is in memory.
func BenchmarkCollateral(b *testing.B) {
	collateral, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(attesttest.Handler(collateral))
	defer server.Close()
	service, err := pcs.PCCS(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		b.Fatal(err)
	}
	client := &pcs.Client{Service: service, Roots: []attest.Root{root}, HTTP: server.Client()}
	defer client.Close()
	family, err := pcs.NewFamily("005A1D000000", pcs.ProcessorCA)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Collateral(b.Context(), family); err != nil {
			b.Fatal(err)
		}
	}
}
