//go:build cgo

package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
)

// What the providers log says which services they have asked, and what these have answered.
func TestHeard(t *testing.T) {
	const query = "pckcert?qeid=00&encrypted_ppid=secret"
	local := "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"
	for _, c := range []struct {
		name   string
		log    []string
		want   []fetch.Request
		cause  string
		source certificates.Source
	}{
		{"nothing", []string{"[QPL] hello"}, nil, "", certificates.Unknown},
		{"Intel's, in its cache",
			[]string{"[QCNL] Fetching from the local cache for: 'x'", "[QCNL] Fetched from the local cache successfully."},
			nil, "", certificates.ProviderCache},
		{"Intel's, one service",
			[]string{"[QCNL] Request URL https://me:secret@pccs.example/v4/" + query, "[QCNL] HTTP status code: 503", "[QCNL] HTTP status code: 200"},
			[]fetch.Request{{URL: "https://…@pccs.example/v4/", Status: 200}}, "", certificates.Network},
		{"Intel's, two services",
			[]string{"[QCNL] Request URL " + local + query, "[QCNL] Encountered CURL error: (7) Couldn't connect to server", "[QCNL] Request URL https://pccs.example/v4/" + query, "[QCNL] HTTP status code: 404"},
			[]fetch.Request{{URL: local, CURL: "(7) Couldn't connect to server"}, {URL: "https://pccs.example/v4/", Status: 404}}, "HTTP status 404", certificates.Network},
		{"Intel's, no answer yet", []string{"[QCNL] Request URL " + local + query}, []fetch.Request{{URL: local}}, "", certificates.Network},
		{"Azure's, its lines cut",
			[]string{"Trying to fetch response from primary URL: '" + local + query + strings.Repeat("0", 400), "Encountered CURL error 28 in curl_easy_perform",
				"Certificate not found in local cache. Trying to fetch response from secondary URL: 'https://global.example/v4/" + query + "'.", "HTTP error (404)", "Encountered CURL error 22 in curl_easy_perform"},
			[]fetch.Request{{URL: local, CURL: "(28)"}, {URL: "https://global.example/v4/", Status: 404}}, "HTTP status 404", certificates.Network},
		{"Azure's, successfully",
			[]string{"Trying to fetch response from primary URL: '" + local + query + "'.", "Successfully fetched certificate from primary URL: '" + local + query + "'."},
			[]fetch.Request{{URL: local, Status: 200}}, "", certificates.Network},
		{"Azure's, in its cache",
			[]string{"Trying to fetch response from primary URL: '" + local + query, "Encountered CURL error 7 in curl_easy_perform", "Successfully fetched certificate from cache."},
			[]fetch.Request{{URL: local, CURL: "(7)"}}, "CURL error (7)", certificates.ProviderCache},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &heard{log: slog.New(slog.DiscardHandler)}
			for _, line := range c.log {
				h.hear(ql.LevelInfo, line)
			}
			if diff := cmp.Diff(c.want, h.made()); diff != "" || h.lastCause() != c.cause || h.source() != c.source {
				t.Errorf("cause %q, source %s, want %q, %s\n%s", h.lastCause(), h.source(), c.cause, c.source, diff)
			}
		})
	}
}
