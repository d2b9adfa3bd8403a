package verifier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// listen listens on the address, with TLS if there is a certificate.
func (s *server) listen() (net.Listener, error) {
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return nil, errors.New("--tls-cert and --tls-key: pass both or neither")
	}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate, err := tls.LoadX509KeyPair(s.tlsCert, s.tlsKey)
		return &certificate, err
	}}
	if s.tlsCert != "" {
		if _, err := config.GetCertificate(nil); err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("--address=%s: %w", s.address, err)
	}
	if s.tlsCert != "" {
		listener = tls.NewListener(listener, config)
	}
	return listener, nil
}

// drainTimeout is how long requests may take that are being served when the service is
// asked to stop.
const drainTimeout = 15 * time.Second

// serveHTTP serves requests until ctx is done, and then finishes those it has read.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // includes fetching collateral
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(draining)
	<-served
	return err
}
