package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/examples/attested-service/exchange"
	"github.com/confcom/confcom/sgx"
)

// quoteOf returns a quote with report data.
func quoteOf(t *testing.T, data sgx.ReportData) []byte {
	t.Helper()
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	q, err := issuer.Quote(sgx.ReportBody{ReportData: data})
	if err != nil {
		t.Fatal(err)
	}
	made, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// fakeEnclave returns the report data as its quote.
type fakeEnclave struct{ err error }

func (e fakeEnclave) Quote(_ context.Context, data sgx.ReportData) ([]byte, error) {
	return data[:], e.err
}

func post(t *testing.T, s *service, path string, message any) *httptest.ResponseRecorder {
	t.Helper()
	body, ok := message.(string)
	if !ok {
		text, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		body = string(text)
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w
}

func TestService(t *testing.T) {
	var log bytes.Buffer
	s, err := newService(fakeEnclave{}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	nonce := challenge.Nonce("12345678")
	w := post(t, s, exchange.EvidencePath, exchange.Challenge{Nonce: nonce})
	var answer exchange.Evidence
	if err := exchange.Read(w.Body, &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d: %v", w.Code, err)
	}
	if want := challenge.ReportData(nonce, answer.Key); !bytes.Equal(answer.Evidence, want[:]) {
		t.Errorf("the quote binds %x, want nonce and key: %x", answer.Evidence, want)
	}

	sealed, want, err := exchange.Seal(answer.Key, []byte("the secret"))
	if err != nil {
		t.Fatal(err)
	}
	w = post(t, s, exchange.SecretPath, sealed)
	var receipt exchange.Receipt
	if err := exchange.Read(w.Body, &receipt); err != nil || w.Code != http.StatusOK || !bytes.Equal(receipt.Receipt, want.Receipt) {
		t.Errorf("%d, receipt %x: %v, want %x", w.Code, receipt.Receipt, err, want.Receipt)
	}
	if strings.Contains(log.String(), "the secret") {
		t.Errorf("the log has the secret:\n%s", &log)
	}
}

func TestServiceRefuses(t *testing.T) {
	s, err := newService(fakeEnclave{errors.New("BUSY")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	other, err := exchange.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	foreign, _, err := exchange.Seal(other.PublicKey().Bytes(), []byte("the secret"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path    string
		message any
		want    int
	}{
		"no JSON":                    {exchange.EvidencePath, "nonce", http.StatusBadRequest},
		"no nonce":                   {exchange.EvidencePath, "{}", http.StatusBadRequest},
		"short nonce":                {exchange.EvidencePath, `{"nonce": "AAAA"}`, http.StatusBadRequest},
		"large message":              {exchange.EvidencePath, `{"nonce": "` + strings.Repeat("A", 65<<10) + `"}`, http.StatusBadRequest},
		"no quote":                   {exchange.EvidencePath, exchange.Challenge{Nonce: make(challenge.Nonce, 32)}, http.StatusServiceUnavailable},
		"no secret":                  {exchange.SecretPath, "{}", http.StatusConflict},
		"secret for another enclave": {exchange.SecretPath, foreign, http.StatusConflict},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if w := post(t, s, test.path, test.message); w.Code != test.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, test.want)
			}
		})
	}
}

// TestGramine checks what is written to and read from the files of Gramine.
func TestGramine(t *testing.T) {
	dir := t.TempDir()
	g := &gramine{dir: dir}
	data := challenge.ReportData(challenge.Nonce("12345678"), nil)
	if _, err := g.Quote(t.Context(), data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without Gramine: %v", err)
	}
	file := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("user_report_data", nil)
	if _, err := g.Quote(t.Context(), data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a quote: %v", err)
	}
	want := quoteOf(t, data)
	file("quote", want)
	if got, err := g.Quote(t.Context(), data); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if written, err := os.ReadFile(filepath.Join(dir, "user_report_data")); err != nil || !bytes.Equal(written, data[:]) {
		t.Errorf("written: %x, %v", written, err)
	}
	file("quote", quoteOf(t, sgx.ReportData{1}))
	if _, err := g.Quote(t.Context(), data); err == nil {
		t.Error("a quote with other report data is accepted")
	}
}

func TestNewEnclave(t *testing.T) {
	for name, want := range map[string]bool{"simulated": true, "gramine": true, "": false, "Gramine": false} {
		if _, err := newEnclave(name); (err == nil) != want {
			t.Errorf("--enclave=%s: %v", name, err)
		}
	}
}

// TestManifestSigner checks that the relying party of the manifest wants the simulated
// enclave.
func TestManifestSigner(t *testing.T) {
	manifest, err := os.ReadFile("simulated/relying-party.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := "--mrsigner=" + simulatedSigner().String() + "\n"; !strings.Contains(string(manifest), want) {
		t.Errorf("the manifest lacks %s", want)
	}
}
