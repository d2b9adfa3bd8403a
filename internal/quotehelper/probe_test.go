package quotehelper

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A socket on which nobody answers is not ready.
func TestProbe(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := probe(ctx, socket); err == nil {
		t.Error("the probe of a deaf socket succeeds")
	}
	listener.Close()
	if err := probe(t.Context(), socket); err == nil {
		t.Error("the probe of no socket succeeds")
	}
	r := start(t, &Helper{Backend: simulatedBackend(t), Socket: socket})
	r.expect(t, "serving quotes")
	if err := probe(t.Context(), socket); err != nil {
		t.Error(err)
	}
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	const want = `
# HELP sgx_quote_helper_probes_total Requests answered that were checks whether the quote helper answers, by kind of request and AESM code of the answer. No other metric of requests or failures has them.
# TYPE sgx_quote_helper_probes_total counter
sgx_quote_helper_probes_total{code="SUCCESS",request="GetSupportedAttKeyIDNum"} 1
sgx_quote_helper_probes_total{code="SUCCESS",request="GetSupportedAttKeyIDs"} 1
`
	if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(want), "sgx_quote_helper_probes_total", "sgx_quote_helper_requests_total"); err != nil {
		t.Error(err)
	}
}
