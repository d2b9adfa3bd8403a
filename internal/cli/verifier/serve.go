package verifier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/reload"
	"github.com/confcom/confcom/internal/verifyserver"
)

const about = `Verify quotes over HTTP. POST a quote to /v1/verify, in any form that 'confcom quote verify'
reads, or as JSON with the report data that you require; the answer is the attestation
result, as 'confcom quote verify -o json' prints it, or, with --ear-key, a signed token. GET
/v1/challenge returns a nonce for a fresh quote. /v1/openapi.json describes the API. Callers
are not authenticated.`

// newServe returns a command that is a daemon: it parses its arguments itself, as it has
// its own flags and those that all daemons have.
func newServe() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Verify quotes over HTTP",
		Long:  about,
		Example: `  confcom verifier serve --address :8087 --policy policy.json
  curl --data-binary @quote.bin -H 'Content-Type: application/octet-stream' localhost:8087/v1/verify`,
		DisableFlagParsing: true,
		RunE: func(command *cobra.Command, args []string) error {
			code := daemon.Command(command.Context(), command.CommandPath(), about, args, command.OutOrStdout(), command.ErrOrStderr(), declare)
			if code == exit.CodeOK {
				return nil
			}
			return exit.Quietly(code)
		},
	}
	declare(command.Flags()) // so that programs which read the flags of commands find them
	return command
}

// server is the service as its flags configure it.
type server struct {
	address, tlsCert, tlsKey       string
	root                           func() (attest.Root, error)
	policy, collateral, cache      string
	skipTLSCheck                   bool
	earKey, challengeKey           string
	earLifetime, challengeLifetime time.Duration
}

// declare declares the flags of the service and returns what runs it.
func declare(flags *pflag.FlagSet) daemon.Run {
	var s server
	flags.StringVar(&s.address, "address", "127.0.0.1:8087", "serve on this `host:port`")
	flags.StringVar(&s.tlsCert, "tls-cert", "", "serve TLS with the certificate chain in this `file` (PEM), reloaded when it changes")
	flags.StringVar(&s.tlsKey, "tls-key", "", "private key of --tls-cert: a `file` (PEM)")
	flags.StringVar(&s.policy, "policy", "", "appraisal policy (JSON `file`), reloaded when it changes; required. It must have mrEnclaves or mrSigners, or anyEnclave, or trustDomain")
	flags.StringVar(&s.collateral, "collateral", pcs.Intel().String(), "fetch collateral from the service at this `URL`, or read it from this file, reloaded when it changes")
	flags.StringVar(&s.cache, "cache", "", "cache fetched collateral in this `directory`, which only this user and root may be able to write to")
	flags.BoolVar(&s.skipTLSCheck, "skip-tls-check", false, trust.SkipTLSCheckUsage)
	s.root = trust.RootFlag(flags, os.ReadFile)
	flags.StringVar(&s.earKey, "ear-key", "", "sign results as EARs (EAT attestation results) for clients that accept "+ear.MediaType+", with the first key in this `file` (PEM: P-256, P-384 or Ed25519), reloaded when it changes. All its keys are published at "+verifyserver.JWKSPath)
	flags.DurationVar(&s.earLifetime, "ear-lifetime", 5*time.Minute, "how long an EAR is valid, at most 24h")
	flags.StringVar(&s.challengeKey, "challenge-key", "", "authenticate nonces with the first key in this `file` (a line of 64 hexadecimal digits for each key), and accept those of all of them, so that several services accept each other's; reloaded when it changes. Without it, the service makes a key when it starts")
	flags.DurationVar(&s.challengeLifetime, "challenge-lifetime", 5*time.Minute, "how long a nonce is valid, at most 24h")
	return s.run
}

func (s *server) run(ctx context.Context, env *daemon.Environment) error {
	root, err := s.root()
	if err != nil {
		return err
	}
	if !root.Key.Equal(attest.IntelRoot().Key) {
		env.Log.Warn("trusting a root other than Intel's", "root", root.Name)
	}
	if s.policy == "" {
		return errors.New("--policy: missing: it states which enclaves or trust domains are accepted")
	}
	for name, lifetime := range map[string]time.Duration{"ear-lifetime": s.earLifetime, "challenge-lifetime": s.challengeLifetime} {
		if lifetime < time.Second || lifetime > maxLifetime {
			return fmt.Errorf("--%s=%s: want 1s to %s", name, lifetime, maxLifetime)
		}
	}
	metrics := verifyserver.NewMetrics(env.Metrics)
	policy, err := reload.Read(func() (verifyserver.Policy, error) { return verifyserver.ReadPolicy(s.policy) }, s.policy)
	if err != nil {
		return fmt.Errorf("--policy: %w", err)
	}
	certificate, err := s.certificate()
	if err != nil {
		return err
	}
	service := verifyserver.Service{
		Verifier:    attest.NewVerifier(root),
		Policy:      policy.Get,
		EARLifetime: s.earLifetime,
		Cluster:     env.Cluster,
		Log:         env.Log,
		Metrics:     metrics,
	}
	watching, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	watch := func(file, path string, watch func(context.Context, func(error))) {
		condition := env.Health.Condition(file)
		condition.Set(nil)
		metrics.Reloaded(file, nil)
		watchers.Go(func() {
			watch(watching, func(err error) {
				metrics.Reloaded(file, err)
				if err != nil {
					condition.Note(fmt.Errorf("reload failed, the former one stays in force: %w", err))
					env.Log.Warn("reload failed, the former version stays in force", "file", file, "path", path, "error", err)
					return
				}
				condition.Set(nil)
				env.Log.Info("reloaded", "file", file, "path", path)
			})
		})
	}
	if trust.IsURL(s.collateral) {
		client, err := s.client(root, env.Log, metrics)
		if err != nil {
			return fmt.Errorf("--collateral: %w", err)
		}
		defer client.Close()
		fetcher := verifyserver.NewFetcher(client)
		defer fetcher.Close()
		service.Collateral = fetcher
	} else {
		bundle, err := s.collateralFile(root)
		if err != nil {
			return fmt.Errorf("--collateral: %w", err)
		}
		watch("collateral", s.collateral, bundle.Watch)
		service.Collateral = bundle
	}
	signer, err := s.signer()
	if err != nil {
		return err
	}
	if signer != nil {
		watch("EAR key", s.earKey, signer.Watch)
		service.Signer = signer.Get
	}
	if s.challengeKey != "" {
		challenges, err := s.challenges()
		if err != nil {
			return err
		}
		watch("challenge key", s.challengeKey, challenges.Watch)
		service.Challenges = challenges.Get
	} else {
		issuer, err := challenge.NewIssuer(s.challengeLifetime)
		if err != nil {
			return fmt.Errorf("--challenge-lifetime: %w", err)
		}
		service.Challenges = func() *challenge.Issuer { return issuer }
	}
	listener, err := s.listen(env.Cluster, certificate)
	if err != nil {
		return err
	}
	watch("policy", s.policy, policy.Watch)
	if certificate != nil {
		watch("certificate", s.tlsCert, certificate.Watch)
	}
	env.Log.Info("serving", "address", listener.Addr().String(), "tls", certificate != nil, "collateral", s.collateral)
	return serveHTTP(ctx, env.Log, listener, service.Handler())
}
