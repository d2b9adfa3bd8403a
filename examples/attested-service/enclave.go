package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// enclave is what this program runs in.
type enclave interface {
	// Quote returns a quote of the enclave with this report data.
	Quote(context.Context, sgx.ReportData) ([]byte, error)
}

// newEnclave returns the enclave of a name, for --enclave.
func newEnclave(name string) (enclave, error) {
	switch name {
	case "simulated":
		return &simulated{}, nil
	case "gramine":
		return &gramine{dir: "/dev/attestation"}, nil
	}
	return nil, fmt.Errorf("--enclave=%s: want simulated or gramine", name)
}

// simulated is an enclave in software. Its quotes prove nothing.
type simulated struct{ helper aesm.Client }

// Quote gets a quote from the node's quote helper, as a client library in an application
// does.
func (s *simulated) Quote(ctx context.Context, data sgx.ReportData) ([]byte, error) {
	return s.helper.Quote(ctx, func(_ context.Context, qe sgx.TargetInfo) (sgx.Report, error) {
		return simulation.DefaultCPU().Report(sgx.ReportBody{
			Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3},
			MREnclave:  sha256.Sum256([]byte("SIMULATED: attested-service")),
			MRSigner:   simulatedSigner(),
			ISVProdID:  1,
			ISVSVN:     1,
			ReportData: data,
		}, qe)
	})
}

// simulatedSigner returns the MRSIGNER of the simulated enclave, which the manifest of the
// relying party has.
func simulatedSigner() sgx.Measurement {
	return sha256.Sum256([]byte("SIMULATED: signer of attested-service"))
}

// gramine is an enclave of Gramine, whose files make quotes. Gramine asks the quote helper.
type gramine struct {
	dir string
	mu  sync.Mutex // the files are those of the process: one quote at a time
}

// Quote writes the report data and reads the quote that Gramine makes of it.
func (g *gramine) Quote(_ context.Context, data sgx.ReportData) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := write(filepath.Join(g.dir, "user_report_data"), data[:]); err != nil {
		return nil, fmt.Errorf("%w: does this program run in Gramine, with sgx.remote_attestation = \"dcap\" in its manifest?", err)
	}
	made, err := os.ReadFile(filepath.Join(g.dir, "quote"))
	if err != nil {
		return nil, fmt.Errorf("%w: Gramine could not get a quote: read its log and that of the quote helper", err)
	}
	q, err := quote.Parse(made)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", filepath.Join(g.dir, "quote"), err)
	case q.Enclave.ReportData != data:
		return nil, errors.New("the quote has other report data than was written")
	}
	return made, nil
}

// write writes a file of Gramine, which takes effect when it is closed. It must exist.
func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
