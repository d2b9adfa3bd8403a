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

// metricsTimeout bounds the time that an answer takes.
const metricsTimeout = 10 * time.Second

// handler serves /healthz, which answers while the process lives, /readyz and
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
		// What can be told is told, though a part of it is missing.
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(env.Log.Handler(), slog.LevelWarn),
		// Whoever can reach the pod can ask, and an answer can be costly.
		MaxRequestsInFlight: 2,
		Timeout:             metricsTimeout,
	}))
	return mux
}

// serve answers over HTTP on address for as long as work runs, so that probes
// still see a daemon that takes its time to stop. An empty address serves
// nothing. When serving fails, work is asked to stop.
func (env *Environment) serve(ctx context.Context, address string, work func(context.Context) error) error {
	if address == "" {
		return work(ctx)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--http-address=%s: %w", address, err)
	}
	env.Log.Info("health and metrics are served", "address", listener.Addr().String())

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
	_ = server.Close() // its error is that of the listener, which Serve reports too
	if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
		return errors.Join(err, fmt.Errorf("HTTP endpoint on %s: %w", listener.Addr(), failed))
	}
	return err
}
