package quote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
)

// server is a TLS server that has shown a certificate and proven that it has its key.
type server struct {
	Address string `json:"address"`
	Version string `json:"version"` // of TLS
	// Format is how the evidence binds the key of the certificate, once that is verified.
	Format      ratls.Format `json:"format"`
	certificate *x509.Certificate
}

// verifiedServer is an attestation result about a server.
type verifiedServer struct {
	*verify.Result
	Server *server `json:"server"`
}

// runTLS verifies the evidence in the certificate of a server. Without a result, its error is the
// command's.
func (v *verification) runTLS(address string, at time.Time) (*verifiedServer, error) {
	verifier, policy, err := v.verifier(at)
	if err != nil {
		return nil, err
	}
	if policy.ReportData != nil {
		return nil, exit.BadInput(errors.New("--tls: the policy requires report data, but the report data of a server binds the key of its certificate"))
	}
	s, err := connect(v.command.Context(), address, v.fetcher.Timeout)
	if err != nil {
		return nil, err
	}
	peers := ratls.Verifier{Evidence: verifier, Policy: policy}
	peer, err := peers.Verify(v.command.Context(), s.certificate)
	switch {
	case peer != nil:
		s.Format = peer.Format
		return &verifiedServer{peer.Result, s}, err
	case errors.Is(err, ratls.ErrCertificate), errors.Is(err, ratls.ErrNotBound):
		return nil, exit.Failed(fmt.Errorf("%s: not trusted: %w", address, err))
	}
	return nil, exit.BadInput(fmt.Errorf("%s: %w", address, err))
}

// write writes the server for people.
func (s *server) write(command *cobra.Command) error {
	p := output.NewPage(command.OutOrStdout())
	p.Text("server", s.Address+", "+s.Version)
	p.Text("certificate", s.certificate.Subject.String())
	p.Text("evidence", string(s.Format))
	return p.Err()
}

// connect makes a TLS connection to a server and ends it. It accepts any certificate: what that
// holds is verified afterwards. The handshake shows that the server has the key.
func connect(ctx context.Context, address string, timeout time.Duration) (*server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, exit.BadInput(fmt.Errorf("--tls: %w: want HOST:PORT", err))
	}
	if timeout <= 0 {
		return nil, exit.BadInput(fmt.Errorf("--timeout=%s: must be greater than 0", timeout))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, exit.BadInput(fmt.Errorf("connect to %s: %w", address, err))
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12, // as Gramine with older Mbed TLS
		InsecureSkipVerify: true,             // package ratls verifies
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s: does this port speak TLS? --timeout allows more", timeout)
		}
		return nil, exit.BadInput(fmt.Errorf("TLS handshake with %s: %w", address, handshakeError(err)))
	}
	state := secure.ConnectionState()
	return &server{Address: address, Version: tls.VersionName(state.Version), certificate: state.PeerCertificates[0]}, nil
}

// handshakeError returns err with what to do, if that is known.
func handshakeError(err error) error {
	if notTLS, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if header := string(notTLS.RecordHeader[:]); header == "HTTP/" {
			return errors.New("the answer is plain HTTP: pass the port on which the server speaks TLS")
		}
		return fmt.Errorf("the answer is not TLS, it starts with %q: pass the port on which the server speaks TLS", notTLS.RecordHeader[:])
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return errors.New("the server has closed the connection: does this port speak TLS?")
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return fmt.Errorf("%w: the server may require a certificate, which this command does not have", err)
	}
	return err
}
