package dcap

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/quote"
)

// keep has a worker's cache keep a PCK certificate for this PCE SVN, and returns the
// description of it.
func keep(t *testing.T, dir string, pceSVN uint16) aesm.Backend {
	t.Helper()
	issuer, err := attesttest.NewIssuer("node-1", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	issuer.Extension.PCESVN = int(pceSVN)
	chain, err := issuer.PCKChain()
	if err != nil {
		t.Fatal(err)
	}
	want := aesm.Backend{Kind: "dcap", Certified: true, PCESVN: pceSVN}
	data := certificates.Data{PCESVN: pceSVN, Chain: quote.NewPCKChain(chain[0], chain[1], chain[2]).Data}
	for i, svn := range issuer.Extension.Components {
		want.Components[i] = uint8(svn)
	}
	data.CPUSVN = want.Components // as the issuer writes it
	cache := certificates.Cache{
		Dir: dir, RefreshAfter: time.Hour, Log: slog.New(slog.DiscardHandler),
		Fetch: func(context.Context, certificates.Query) (certificates.Answer, error) {
			return certificates.Answer{Data: data}, nil
		},
	}
	id := certificates.ID{PCESVN: pceSVN}
	if err := cache.Initialize(func() error { _, err := cache.Get(id, []byte("ppid")); return err }); err != nil {
		t.Fatal(err)
	}
	return want
}

// The description follows the certificates that workers keep.
func TestDescription(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b := &Backend{config: config.Config{Certificates: dir}}
	expect := func(when string, want aesm.Backend) {
		t.Helper()
		if got := b.description(); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
	}
	unknown := aesm.Backend{Kind: "dcap"}
	expect("no certificates", unknown)
	first := keep(t, dir, 11)
	expect("soon after", unknown)
	b.described = b.described.Add(-describeInterval)
	expect("certificates", first)
	for _, name := range []string{"pck-*.json", "query-*.json"} { // the next one is newer
		files, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", name, files, err)
		}
		past := time.Now().Add(-time.Hour)
		if err := os.Chtimes(files[0], past, past); err != nil {
			t.Fatal(err)
		}
	}
	second := keep(t, dir, 13)
	b.described = b.described.Add(-describeInterval)
	expect("another TCB", second)
	if first == second {
		t.Errorf("both are %+v", first)
	}
}

// A client that asks during the first description gets one as well. An empty one would look
// like another daemon.
func TestFirstDescriptions(t *testing.T) {
	dir := t.TempDir()
	for range 30 { // one may be described before others ask
		b := &Backend{config: config.Config{Certificates: dir}}
		begin, got := make(chan struct{}), make(chan aesm.Backend)
		const clients = 30
		for range clients {
			go func() {
				<-begin
				got <- b.description()
			}()
		}
		close(begin)
		for range clients {
			if d := <-got; d.Kind != Kind {
				t.Errorf("%+v", d)
			}
		}
	}
}
