package quotehelper

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"
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
}
