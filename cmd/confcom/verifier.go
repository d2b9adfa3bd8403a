package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/verifyserver"
	"github.com/confcom/confcom/quote"
)

func newVerifierCommand() *cobra.Command {
	command := needsCommand(&cobra.Command{
		Use:   "verifier",
		Short: "Judge quotes for others, over HTTP",
	})
	command.AddCommand(newServeCommand())
	return command
}

const serveAbout = `Judges quotes for others, over HTTP: POST a quote to /v1/verify, as bytes or as JSON, and
get what 'confcom quote verify -o json' says. /v1/openapi.json describes it.`

func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "serve",
		Short:              "Judge quotes for others, over HTTP",
		Long:               serveAbout,
		DisableFlagParsing: true, // it is a daemon, with the flags that daemons have
		RunE: func(command *cobra.Command, args []string) error {
			exit := daemon.Command(command.Context(), "confcom verifier serve", serveAbout, args, command.OutOrStdout(), command.ErrOrStderr(), configureVerifier)
			if exit == exitOK {
				return nil
			}
			return &failure{exit, nil} // it is said
		},
	}
}

// serving is how quotes are judged for others.
type serving struct {
	address, tlsCert, tlsKey        string
	root, policy, collateral, cache string
	skipTLSCheck                    bool
}

func configureVerifier(flags *pflag.FlagSet) daemon.Run {
	var s serving
	flags.StringVar(&s.address, "address", "127.0.0.1:8087", "serve on this `host:port`")
	flags.StringVar(&s.tlsCert, "tls-cert", "", "serve with TLS, and this certificate chain: a PEM `file`, read again for each connection")
	flags.StringVar(&s.tlsKey, "tls-key", "", "the key of --tls-cert: a PEM `file`")
	flags.StringVar(&s.policy, "policy", "", "want of quotes what this JSON `file` says, which is read again when it changes; empty wants a platform that is up to date")
	flags.StringVar(&s.collateral, "collateral", pcs.Intel().String(), "judge by the collateral of the service at this `URL`, or in this file")
	flags.StringVar(&s.cache, "cache", "", "keep what was fetched in this `directory`")
	flags.BoolVar(&s.skipTLSCheck, "skip-tls-check", false, skipTLSCheckUsage)
	flags.StringVar(&s.root, "root", "", "trust only the root certificate in this PEM `file`, not Intel's")
	return s.run
}

func (s *serving) run(ctx context.Context, env *daemon.Environment) error {
	root := attest.IntelRoot()
	if s.root != "" {
		text, err := os.ReadFile(s.root)
		if err != nil {
			return fmt.Errorf("--root: %w", err)
		}
		if root, err = attest.ParseRoot(text); err != nil {
			return fmt.Errorf("--root=%s: %w", s.root, err)
		}
		env.Log.Warn("the root is not Intel's", "root", root.Name)
	}
	service := verifyserver.Service{
		Verifier: attest.NewVerifier(root), Policy: func() attest.Policy { return attest.Policy{} }, Log: env.Log, Metrics: verifyserver.NewMetrics(env.Metrics),
	}
	if s.policy != "" {
		read := env.Health.Condition("policy")
		file, err := verifyserver.ReadPolicy(s.policy, env.Log, read.Set)
		if err != nil {
			return fmt.Errorf("--policy: %w", err)
		}
		read.Set(nil)
		service.Policy = file.Policy
	}
	var err error
	if service.Collateral, err = s.source(root, env.Log); err != nil {
		return fmt.Errorf("--collateral: %w", err)
	}
	listener, err := s.listen()
	if err != nil {
		return err
	}
	env.Log.Info("quotes are judged", "address", listener.Addr().String(), "tls", s.tlsCert != "", "collateral", s.collateral)
	return serveHTTP(ctx, listener, service.Handler())
}

// source is where collateral comes from.
func (s *serving) source(root attest.Root, log *slog.Logger) (func(context.Context, *quote.Quote) (*attest.Collateral, error), error) {
	if !isURL(s.collateral) {
		// It is read each time, as it gets old, and is small.
		read := func(context.Context, *quote.Quote) (*attest.Collateral, error) {
			bundle, err := readCollateral(s.collateral)
			if err != nil {
				return nil, err
			}
			return &bundle.Collateral, nil
		}
		_, err := read(context.Background(), nil)
		return read, err
	}
	f := fetching{url: s.collateral, cache: s.cache, timeout: 10 * time.Second, skipTLSCheck: s.skipTLSCheck}
	client, err := f.client(root, func(step pcs.Step) {
		switch {
		case step.Err != nil:
			log.Warn("a part of the collateral was not to be had", "part", step.Part, "url", step.URL, "kept", step.Kept, "error", step.Err)
		case !step.Kept:
			log.Info("a part of the collateral was fetched", "part", step.Part, "url", step.URL)
		}
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, q *quote.Quote) (*attest.Collateral, error) {
		family, err := pcs.FamilyOf(q)
		if err != nil {
			return nil, err
		}
		bundle, err := client.Collateral(ctx, family)
		if err != nil {
			return nil, err
		}
		return &bundle.Collateral, nil
	}, nil
}

func (s *serving) listen() (net.Listener, error) {
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return nil, errors.New("--tls-cert and --tls-key: give both or none")
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

// drainTimeout is how long requests may take that are here when the verifier is asked
// to stop.
const drainTimeout = 15 * time.Second

// serveHTTP answers until ctx is done, and then what is here.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // collateral may have to be fetched
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
