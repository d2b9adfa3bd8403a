package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// workerMode makes this test binary a worker.
const workerMode = "LINK_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerMode) != "" {
		os.Exit(worker())
	}
	goleak.VerifyTestMain(m)
}

// worker serves requests until the parent ends.
func worker() int {
	l, err := Inherit()
	if err == nil {
		err = l.Serve(context.Background(), stub{}, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// What a report asks of a stub, in the first byte of its report data.
const (
	wantQuote = iota
	wantExit
	wantLibraryError
	wantFailure
	wantHang
)

// stub is a handler whose "quotes" are the report data.
type stub struct{}

func testIdentity() Identity {
	return Identity{
		Initialized: aesm.Initialized{
			TargetInfo:  sgx.TargetInfo{MREnclave: sgx.Measurement{1, 2, 3}, ConfigSVN: 4},
			PublicKeyID: [aesm.PublicKeyIDSize]byte{5, 6, 7},
		},
		QuoteSize: 4600,
	}
}

func (stub) Initialize() (Identity, error) { return testIdentity(), nil }

func (stub) Quote(report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	data := report.Body.ReportData
	switch data[0] {
	case wantExit:
		os.Exit(3)
	case wantLibraryError:
		return aesm.Quoted{}, fmt.Errorf("quote: %w", quote3.NetworkError)
	case wantFailure:
		return aesm.Quoted{}, errors.New("no disk space")
	case wantHang:
		select {}
	}
	quoted := aesm.Quoted{Quote: data[:]}
	if challenge != nil {
		quoted.QEReport.Body.ReportData = sgx.ReportData(append(challenge.Nonce[:], make([]byte, 48)...))
		quoted.QEReport.Body.MREnclave = challenge.Target.MREnclave
	}
	return quoted, nil
}

// testReport is a report whose report data are these bytes.
func testReport(data ...byte) sgx.Report {
	var r sgx.Report
	copy(r.Body.ReportData[:], data)
	r.KeyID[0], r.MAC[0] = 1, 2
	return r
}

func testChallenge() *aesm.Challenge {
	return &aesm.Challenge{Nonce: [aesm.NonceSize]byte{8, 9}, Target: sgx.TargetInfo{MREnclave: sgx.Measurement{10}}}
}

// start starts a worker. The test waits for it.
func start(t *testing.T) (*Client, *exec.Cmd) {
	t.Helper()
	client, file, err := NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerMode+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		_ = cmd.Process.Kill() // it has ended, unless the test failed
	})
	return client, cmd
}
