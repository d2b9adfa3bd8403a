package ratls_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// Two enclaves of one signer accept each other, and nobody else. Both replace their certificates
// while they run.
func Example_mutual() {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	signer := sgx.Measurement{2}
	own := func(name string) *ratls.Attester {
		attester, err := ratls.NewAttester(ctx, ratls.AttesterConfig{Quote: simulatedQuote(signer), Name: name})
		if err != nil {
			panic(err)
		}
		running.Go(func() { attester.Run(ctx) })
		return attester
	}
	verifier := &ratls.Verifier{
		Evidence: simulatedVerifier(), // or &verify.Verifier{Source: &pcs.Client{Service: pcs.Intel()}}
		Policy:   attest.Policy{MRSigners: []sgx.Measurement{signer}},
		Accept: func(_ tls.ConnectionState, peer *ratls.Peer) error {
			fmt.Println("accepted:", peer.Quote.Enclave.MRSigner == signer, peer.Status)
			return nil
		},
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{TLSConfig: verifier.ServerConfig(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s.", r.TLS.PeerCertificates[0].Subject.CommonName)
	})}
	server.TLSConfig.GetCertificate = own("server").GetCertificate
	running.Go(func() { _ = server.ServeTLS(listener, "", "") })
	defer server.Close()

	config := verifier.ClientConfig()
	config.GetClientCertificate = own("client").GetClientCertificate
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	reply, err := client.Get("https://" + listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	fmt.Println(string(text), err)
	// Output:
	// accepted: true UpToDate
	// accepted: true UpToDate
	// Hello, client. <nil>
}

// A client that connects to the enclaves of a signer.
func ExampleVerifier() {
	verifier := &ratls.Verifier{
		Evidence: &verify.Verifier{Source: &pcs.Client{Service: pcs.Intel()}},
		Policy:   attest.Policy{MRSigners: []sgx.Measurement{{2}}},
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: verifier.ClientConfig()}}
	reply, err := client.Get("https://enclave.example/")
	if err != nil {
		fmt.Println(err) // says what was found, if the server was refused
		return
	}
	defer reply.Body.Close()
}

// A server in an enclave, whose quotes come from the AESM daemon of the node.
func ExampleAttester() {
	ctx := context.Background()
	var daemon aesm.Client
	attester, err := ratls.NewAttester(ctx, ratls.AttesterConfig{
		Quote: func(ctx context.Context, data sgx.ReportData) ([]byte, error) {
			return daemon.Quote(ctx, func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
				return ereport(target, data)
			})
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	go attester.Run(ctx)
	server := &http.Server{Addr: ":443", TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: attester.GetCertificate}}
	fmt.Println(server.ListenAndServeTLS("", ""))
}

// ereport returns what the instruction EREPORT writes in an enclave.
func ereport(sgx.TargetInfo, sgx.ReportData) (sgx.Report, error) { return sgx.Report{}, nil }

// simulatedQuote returns a function that makes quotes of a simulated enclave.
func simulatedQuote(signer sgx.Measurement) func(context.Context, sgx.ReportData) ([]byte, error) {
	return func(_ context.Context, data sgx.ReportData) ([]byte, error) {
		issuer, err := attesttest.NewIssuer("node-1", time.Now())
		if err != nil {
			return nil, err
		}
		q, err := issuer.Quote(sgx.ReportBody{MRSigner: signer, ReportData: data})
		if err != nil {
			return nil, err
		}
		return q.MarshalBinary()
	}
}

// simulatedVerifier returns a verifier of simulated quotes.
func simulatedVerifier() *verify.Verifier {
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		panic(err)
	}
	collateral, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		panic(err)
	}
	return &verify.Verifier{Roots: []attest.Root{root}, Source: collateral}
}
