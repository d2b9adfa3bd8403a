package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// verifierMain is the main function of the verifier service: that of 'confcom verifier
// serve'.
func verifierMain() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the test
		stop()
	}()
	return cli.Run(ctx, cli.New(), append([]string{"verifier", "serve"}, os.Args[1:]...))
}

// verifier is a verifier service in a process of its own.
type verifier struct {
	*process
	ready           chan struct{} // closed once both addresses are known
	address, health string

	mu     sync.Mutex
	errors []string // the lines at ERROR
}

// startVerifier starts a service that trusts quotes of simulated platforms.
func startVerifier(t testing.TB) *verifier {
	t.Helper()
	dir := t.TempDir()
	collateral, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := attesttest.Files(collateral)
	if files["collateral.json"], err = json.Marshal(collateral); err != nil {
		t.Fatal(err)
	}
	files["root.pem"] = simulation.RootPEM()
	files["policy.json"] = []byte(`{"anyEnclave": true}`)
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range files {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := &verifier{ready: make(chan struct{})}
	v.process = start(t, roleVerifier, io.Discard, &lines{each: v.logged},
		"--address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--log-format=json",
		"--policy="+path("policy.json"), "--root="+path("root.pem"), "--collateral="+path("collateral.json"))
	select {
	case <-v.ready:
	case <-v.ended:
		t.Fatalf("the verifier ended: %v", v.err)
	case <-time.After(patience):
		t.Fatalf("the verifier did not serve within %s", patience)
	}
	return v
}

func (v *verifier) logged(line []byte) {
	var entry struct{ Level, Msg, Address string }
	_ = json.Unmarshal(line, &entry) // a stack trace is not JSON
	v.mu.Lock()
	defer v.mu.Unlock()
	switch entry.Msg {
	case "serving":
		v.address = entry.Address
	case "serving health and metrics":
		v.health = entry.Address
	default:
		if entry.Level == "ERROR" || entry.Level == "" {
			v.errors = append(v.errors, string(line))
		}
		return
	}
	if v.address != "" && v.health != "" {
		close(v.ready)
	}
}

// bugs returns the lines of the log at ERROR, and those that are not of the log.
func (v *verifier) bugs() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.errors
}

// verifications has the verifier appraise a quote that the quote helper has made, and every
// other time one whose signature is changed.
func verifications(ctx context.Context, client *aesm.Client, address string) (func(context.Context) error, error) {
	ready, err := client.InitQuote(ctx, aesm.IntelQE3KeyID())
	if err != nil {
		return nil, err
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, ready.TargetInfo)
	if err != nil {
		return nil, err
	}
	quoted, err := client.GetQuote(ctx, aesm.IntelQE3KeyID(), report, bufferSize, nil)
	if err != nil {
		return nil, err
	}
	changed := bytes.Clone(quoted.Quote)
	const signature = 48 + sgx.ReportBodySize + 4
	changed[signature] ^= 1
	// Without keep-alive, as the service replaces idle connections when there are many.
	web := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	var n atomic.Uint64
	return func(ctx context.Context) error {
		quote, want := quoted.Quote, true
		if n.Add(1)%2 == 0 {
			quote, want = changed, false
		}
		return verify(ctx, &web, address, quote, want)
	}, nil
}

// verify has a quote appraised, and checks the result.
func verify(ctx context.Context, web *http.Client, address string, quote []byte, want bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/verify", bytes.NewReader(quote))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	response, err := web.Do(request)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		// The port and the pointers in it would make each failure look different.
		return fmt.Errorf("verify: %w", errors.Unwrap(err))
	}
	defer response.Body.Close()
	var result struct {
		Trusted bool
		Reason  string
	}
	if err := json.NewDecoder(response.Body).Decode(&result); err != nil {
		return fmt.Errorf("verify: %s: %w", response.Status, err)
	}
	if response.StatusCode != http.StatusOK || result.Trusted != want {
		return fmt.Errorf("verify: %s, trusted: %v, want %v: %s", response.Status, result.Trusted, want, result.Reason)
	}
	return nil
}
