// Ratls-server is an HTTPS server in an enclave: a quote in its certificate shows which enclave
// has the key.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8443", "address to listen on")
	socket := flag.String("socket", aesm.DefaultSocket, "socket of the quote helper")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *address, *socket); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address, socket string) error {
	daemon := aesm.Client{Socket: socket}
	attester, err := ratls.NewAttester(ctx, ratls.AttesterConfig{
		Quote: func(ctx context.Context, data sgx.ReportData) ([]byte, error) {
			return daemon.Quote(ctx, func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
				return report(target, data)
			})
		},
		Rotated: func(c *x509.Certificate, err error) {
			if err != nil {
				log.Print(err) // the former certificate stays in use
			}
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())

	server := &http.Server{
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: attester.GetCertificate},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "hello from an enclave")
		}),
	}
	var running sync.WaitGroup
	running.Go(func() { attester.Run(ctx) })
	running.Go(func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	})
	err = server.ServeTLS(listener, "", "")
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// report stands in for the instruction EREPORT, with the simulated processor of Intel's SDK. In an
// enclave, call EREPORT here: only a quote helper with --platform=simulated accepts this report.
func report(target sgx.TargetInfo, data sgx.ReportData) (sgx.Report, error) {
	return simulation.DefaultCPU().Report(sgx.ReportBody{
		Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
		MRSigner:   sha256.Sum256([]byte("SIMULATED: signer of ratls-server")),
		ReportData: data,
	}, target)
}
