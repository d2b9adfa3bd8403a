package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// metricsTimeout bounds a request for /metrics.
	metricsTimeout = 10 * time.Second
	// maxConnections bounds the connections for health and metrics. The kubelet and
	// Prometheus need one each. A hundred that hold what a client can send take 20 MB,
	// most of it in the kernel.
	maxConnections = 100
)

// handler serves /healthz, which succeeds while the process is alive, /readyz, /statusz
// and /metrics.
func (env *Environment) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, text := env.Health.report()
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, text)
	})
	mux.HandleFunc("GET /statusz", env.serveState)
	mux.Handle("GET /metrics", promhttp.HandlerFor(env.Metrics, promhttp.HandlerOpts{
		// A collector that fails costs its own metrics only.
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(env.Log.Handler(), slog.LevelWarn),
		// Requests can be costly, and anyone who can reach the pod can make them.
		MaxRequestsInFlight: 2,
		Timeout:             metricsTimeout,
	}))
	return mux
}

// withoutBody serves requests, none of which needs a body, without waiting for the end of
// one.
func withoutBody(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // the timeouts of the server remain
		}
		handler.ServeHTTP(w, r)
	})
}

// serve serves HTTP on address for as long as work runs, so that a daemon that takes
// time to stop still answers its probes. It serves nothing if the address is empty. If
// serving fails, it cancels the context of work.
func (env *Environment) serve(ctx context.Context, address string, work func(context.Context) error) error {
	if address == "" {
		return work(ctx)
	}
	listener, err := Listen(address, maxConnections, env.Cluster)
	if err != nil {
		return fmt.Errorf("--http-address=%s: %w", address, err)
	}
	env.Log.Info("serving health and metrics", "address", listener.Addr().String())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := NewServer(withoutBody(env.handler()))
	server.WriteTimeout = metricsTimeout + 5*time.Second
	served := make(chan error, 1)
	go func() {
		defer cancel()
		served <- server.Serve(listener)
	}()

	err = work(ctx)
	_ = server.Close() // Serve returns the same error
	if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
		return errors.Join(err, fmt.Errorf("serve HTTP on %s: %w", listener.Addr(), failed))
	}
	return err
}
