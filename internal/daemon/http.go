package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsTimeout bounds a request for /metrics.
const metricsTimeout = 10 * time.Second

// handler serves /healthz, which succeeds while the process is alive, /readyz and
// /metrics.
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

// serve serves HTTP on address for as long as work runs, so that a daemon that takes
// time to stop still answers its probes. It serves nothing if the address is empty. If
// serving fails, it cancels the context of work.
func (env *Environment) serve(ctx context.Context, address string, work func(context.Context) error) error {
	if address == "" {
		return work(ctx)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--http-address=%s: %w", address, err)
	}
	env.Log.Info("serving health and metrics", "address", listener.Addr().String())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           env.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      metricsTimeout + 5*time.Second,
		IdleTimeout:       time.Minute,
	}
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
