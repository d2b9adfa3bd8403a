package verifier

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/verifyserver"
)

const about = `Verify quotes over HTTP. POST a quote to /v1/verify, in binary form or as JSON; the answer
is the attestation result, as 'confcom quote verify -o json' prints it. /v1/openapi.json
describes the API. Callers are not authenticated.`

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
	address, tlsCert, tlsKey        string
	root, policy, collateral, cache string
	skipTLSCheck                    bool
}

// declare declares the flags of the service and returns what runs it.
func declare(flags *pflag.FlagSet) daemon.Run {
	var s server
	flags.StringVar(&s.address, "address", "127.0.0.1:8087", "serve on this `host:port`")
	flags.StringVar(&s.tlsCert, "tls-cert", "", "serve TLS with the certificate chain in this `file` (PEM), which is read for each connection")
	flags.StringVar(&s.tlsKey, "tls-key", "", "private key of --tls-cert: a `file` (PEM)")
	flags.StringVar(&s.policy, "policy", "", "appraisal policy (JSON `file`), reloaded when it changes; empty requires only an up-to-date platform and an enclave that no debugger can read")
	flags.StringVar(&s.collateral, "collateral", pcs.Intel().String(), "fetch collateral from the service at this `URL`, or read it from this file")
	flags.StringVar(&s.cache, "cache", "", "cache fetched collateral in this `directory`, which only this user and root may be able to write to")
	flags.BoolVar(&s.skipTLSCheck, "skip-tls-check", false, trust.SkipTLSCheckUsage)
	flags.StringVar(&s.root, "root", "", "trust only the root certificate in this `file` (PEM) instead of Intel's")
	return s.run
}

func (s *server) run(ctx context.Context, env *daemon.Environment) error {
	root := attest.IntelRoot()
	if s.root != "" {
		text, err := os.ReadFile(s.root)
		if err != nil {
			return fmt.Errorf("--root: %w", err)
		}
		if root, err = attest.ParseRoot(text); err != nil {
			return fmt.Errorf("--root=%s: %w", s.root, err)
		}
		env.Log.Warn("trusting a root other than Intel's", "root", root.Name)
	}
	service := verifyserver.Service{
		Verifier: attest.NewVerifier(root),
		Policy:   func() attest.Policy { return attest.Policy{} },
		Log:      env.Log,
		Metrics:  verifyserver.NewMetrics(env.Metrics),
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
	get, closeSource, err := s.source(root, env.Log)
	if err != nil {
		return fmt.Errorf("--collateral: %w", err)
	}
	defer closeSource()
	service.Collateral = get
	listener, err := s.listen()
	if err != nil {
		return err
	}
	env.Log.Info("serving", "address", listener.Addr().String(), "tls", s.tlsCert != "", "collateral", s.collateral)
	return serveHTTP(ctx, listener, service.Handler())
}
