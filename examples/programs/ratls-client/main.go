// Ratls-client gets a page from an enclave of a signer, and from nobody else.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/sgx"
)

func main() {
	var signer sgx.Measurement
	flag.TextVar(&signer, "mrsigner", signer, "MRSIGNER of the enclave")
	url := flag.String("url", "https://127.0.0.1:8443/", "page to get")
	collateral := flag.String("collateral", "https://api.trustedservices.intel.com", "URL of the collateral service")
	root := flag.String("root", "", "file with the root certificate of simulated platforms, for tests only")
	flag.Parse()
	if err := run(*url, *collateral, *root, signer); err != nil {
		log.Fatal(err)
	}
}

func run(url, collateral, root string, signer sgx.Measurement) error {
	service, err := pcs.ServiceAt(collateral)
	if err != nil {
		return err
	}
	roots := []attest.Root{attest.IntelRoot()}
	if root != "" {
		text, err := os.ReadFile(root)
		if err != nil {
			return err
		}
		if roots[0], err = attest.ParseRoot(text); err != nil {
			return err
		}
	}
	source := &pcs.Client{Service: service, Roots: roots}
	defer source.Close()
	verifier := &ratls.Verifier{
		Evidence: &verify.Verifier{Roots: roots, Source: source},
		Policy:   attest.Policy{MRSigners: []sgx.Measurement{signer}},
		Accept: func(_ tls.ConnectionState, peer *ratls.Peer) error {
			fmt.Println("the server is an enclave of the signer; its platform is", peer.Status)
			return nil
		},
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: verifier.ClientConfig()}}
	reply, err := client.Get(url)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	_, err = io.Copy(os.Stdout, reply.Body)
	return err
}
