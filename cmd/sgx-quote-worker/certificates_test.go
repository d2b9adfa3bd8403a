//go:build cgo

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/confcom/confcom/internal/backend/dcap/config"
)

// The services that the provider asks are named without passwords.
func TestService(t *testing.T) {
	const azure = "Azure's certificate service (169.254.169.254)"
	for _, test := range []struct {
		qcnl, base string
		azure      bool
		want       string
	}{
		{qcnl: `{"pccs_url": "https://me:secret@pccs.example/sgx/certification/v4/"}`, want: "https://…@pccs.example/sgx/certification/v4/"},
		{qcnl: `{"pccs_url": "https://pccs.example/", "local_pck_url": "http://node.example/?key=secret"}`, want: "http://node.example/?… or https://pccs.example/"},
		{qcnl: `{"local_cache_only": true}`, want: "the provider's own cache, as local_cache_only is set"},
		{azure: true, want: azure},
		{azure: true, base: "https://me:secret@cache.example/", want: "https://…@cache.example/"},
	} {
		path := filepath.Join(t.TempDir(), "qcnl.conf")
		if err := os.WriteFile(path, []byte(test.qcnl), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AZDCAP_PRIMARY_BASE_CERT_URL", test.base)
		if got := service(config.Config{QCNL: path}, test.azure); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}
