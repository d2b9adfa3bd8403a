package pcs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/sgx/simulation"
)

func ExampleClient() {
	issued, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(attesttest.Handler(issued)) // instead of https://pccs.example:8081
	defer server.Close()
	root, err := attest.ParseRoot(simulation.RootPEM()) // in tests only: the default is Intel's root
	if err != nil {
		fmt.Println(err)
		return
	}
	service, err := pcs.PCCS(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &pcs.Client{Service: service, Roots: []attest.Root{root}, HTTP: server.Client()}
	defer client.Close()

	family, err := pcs.NewFamily("005A1D000000", pcs.ProcessorCA) // or pcs.FamilyOf a quote
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle, err := client.Collateral(context.Background(), family)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bundle.TCBInfo[:25])

	// Collateral that is not signed under a trusted root is refused.
	client = &pcs.Client{Service: service, HTTP: server.Client()}
	_, err = client.Collateral(context.Background(), family)
	failed, _ := errors.AsType[*attest.CheckError](err)
	fmt.Println(failed.Check, "failed")
	// Output:
	// {"id":"SGX","version":3,"
	// trusted root failed
}
