package verifier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/reload"
)

const (
	// maxConnections bounds the connections of clients. All of them fit into the memory
	// limit of the chart, each with a body of 64 KiB and full buffers in the kernel; the
	// service bounds the number of larger bodies.
	maxConnections = 900
	// maxStreams bounds the requests at a time on a connection with HTTP/2; the service bounds
	// those of all connections. The other two are what a connection's buffers may grow to: the
	// smallest that HTTP/2 allows.
	maxStreams       = 8
	maxFrame         = 16 << 10
	connectionBuffer = 64 << 10
	// writeTimeout bounds a request from the end of its header: the time in which it is
	// received and waits for the processor and for collateral.
	writeTimeout = time.Minute
	// drainTimeout is how long requests may take that are being served when the service is
	// asked to stop.
	drainTimeout = 15 * time.Second
)

// certificate returns the TLS certificate of the flags, or nil if they are not set.
func (s *server) certificate() (*reload.Value[tls.Certificate], error) {
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return nil, errors.New("--tls-cert and --tls-key: pass both or neither")
	}
	if s.tlsCert == "" {
		return nil, nil
	}
	certificate, err := reload.Read(func() (tls.Certificate, error) { return readCertificate(s.tlsCert, s.tlsKey) }, s.tlsCert, s.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return certificate, nil
}

// readCertificate reads a certificate chain and its key, and checks that clients can accept it
// now.
func readCertificate(certFile, keyFile string) (tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile) // checks that they belong together
	if err != nil {
		return tls.Certificate{}, err
	}
	const layout = time.RFC3339
	switch leaf, now := certificate.Leaf, time.Now(); {
	case now.After(leaf.NotAfter):
		return tls.Certificate{}, fmt.Errorf("%s: the certificate expired on %s", certFile, leaf.NotAfter.UTC().Format(layout))
	case now.Before(leaf.NotBefore):
		return tls.Certificate{}, fmt.Errorf("%s: the certificate is not valid before %s", certFile, leaf.NotBefore.UTC().Format(layout))
	}
	return certificate, nil
}

// listen listens on the address, with TLS if there is a certificate.
func (s *server) listen(cluster daemon.Networks, certificate *reload.Value[tls.Certificate]) (net.Listener, error) {
	listener, err := daemon.Listen(s.address, maxConnections, cluster)
	if err != nil {
		return nil, fmt.Errorf("--address=%s: %w", s.address, err)
	}
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				current := certificate.Get()
				return &current, nil
			},
			NextProtos: []string{"h2", "http/1.1"},
		})
	}
	return listener, nil
}

// newServer returns the server of the service. With TLS, clients can choose HTTP/2.
func newServer(log *slog.Logger, handler http.Handler) *http.Server {
	server := daemon.NewServer(handler)
	server.WriteTimeout = writeTimeout
	server.ErrorLog = newErrorLog(log)
	server.Protocols.SetHTTP2(true)
	server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReadFrameSize:              maxFrame,
		MaxReceiveBufferPerConnection: connectionBuffer,
		MaxReceiveBufferPerStream:     connectionBuffer,
	}
	return server
}

// serveHTTP serves requests until ctx is done, and then finishes those it has read.
func serveHTTP(ctx context.Context, log *slog.Logger, listener net.Listener, handler http.Handler) error {
	server := newServer(log, handler)
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

// newErrorLog returns a logger for the errors of the HTTP server. Clients cause most of
// them, such as failed TLS handshakes: at most one line a second is logged.
func newErrorLog(log *slog.Logger) *stdlog.Logger {
	return stdlog.New(&errorLog{log: log, sometimes: rate.Sometimes{Interval: time.Second}}, "", 0)
}

type errorLog struct {
	log       *slog.Logger
	sometimes rate.Sometimes
}

func (l *errorLog) Write(line []byte) (int, error) {
	l.sometimes.Do(func() { l.log.Warn("serve HTTP failed", "error", strings.TrimSpace(string(line))) })
	return len(line), nil
}
