package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The state is that of the daemon at the address, and of nothing else.
func TestAskState(t *testing.T) {
	const state = `{"daemon": "sgx-example", "conditions": [{"name": "socket", "reason": "no device"}]}`
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/statusz" {
			_, _ = w.Write([]byte(state))
		}
	}))
	defer daemon.Close()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // in the error, which names the address; "" for none
	}{
		{"a daemon", daemon.Config.Handler.ServeHTTP, ""},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "invalid character '<'"},
		{"something else", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"version": "1"}`)) }, "no daemon of confcom"},
		{"no such page", http.NotFound, "404 Not Found"},
		{"a redirection to a daemon", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, daemon.URL+"/statusz", http.StatusFound)
		}, "302 Found"},
		{"no end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"daemon": "` + strings.Repeat("x", maxState) + `"}`))
		}, "unexpected EOF"},
	} {
		server := httptest.NewServer(tt.answer)
		address := strings.TrimPrefix(server.URL, "http://")
		got, err := AskState(t.Context(), address)
		switch {
		case tt.want == "":
			if err != nil || got.Daemon != "sgx-example" || len(got.Conditions) != 1 {
				t.Errorf("%s: %+v, %v", tt.name, got, err)
			}
		case err == nil || !strings.HasPrefix(err.Error(), server.URL+"/statusz: ") || !strings.Contains(err.Error(), tt.want) || got.Daemon != "":
			t.Errorf("%s: %+v, %v, want %s", tt.name, got, err, tt.want)
		}
		server.Close()
		if _, err := AskState(t.Context(), address); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("nobody: %v", err)
		}
	}
}
