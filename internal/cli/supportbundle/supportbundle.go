// Package supportbundle is the command 'confcom support-bundle': it collects what a bug
// report needs into one archive.
//
//   - part.go collects the parts of a bundle and writes the archive.
//   - machine_linux.go has the parts about the machine or the pod that it runs in.
//   - cluster.go has those that kubectl gets.
//   - redact.go removes secrets.
package supportbundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/cli/version"
)

// settings are the flags of the command.
type settings struct {
	namespace  string
	kubeconfig string
	kubectl    string
	address    string // of a daemon of confcom in this pod or on this machine
	find       bool   // whether that address has to be found
	sysroot    string
}

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "support-bundle",
		Short: "Collect what a bug report needs into one archive",
		Long: `Collect what a bug report needs into one archive (tar.gz): versions, what confcom node
and confcom doctor find, the configuration in use, and the daemons' logs, metrics and
events. It takes what it can get where it runs: on a machine with kubectl, from the
cluster; on a node or in a pod of confcom, from there. What it does not get is listed in
the archive.

Passwords, keys and certificates are left out. The command prints the list of what is in
the archive, what may be private first, before it writes it.

Exit codes: 0 the archive is written; 1 writing it failed; 2 bad input.`,
		Example: `  confcom support-bundle                             # into this directory
  kubectl -n confcom-system exec ds/sgx-quote-helper -- confcom support-bundle --out=- >node.tar.gz`,
		Args: args.None,
	}
	var s settings
	flags := command.Flags()
	out := flags.String("out", "confcom-support-"+time.Now().UTC().Format("20060102-150405")+".tar.gz", "write to this `file`; \"-\" is standard output")
	flags.Lookup("out").DefValue = "confcom-support-TIME.tar.gz"
	list := flags.Bool("list", false, "print what would be in the archive, and write nothing")
	flags.StringVar(&s.namespace, "namespace", "confcom-system", "the `namespace` that the chart is installed in")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "the kubeconfig `file` for kubectl; empty for kubectl's default")
	flags.StringVar(&s.kubectl, "kubectl", "kubectl", "name or `path` of kubectl; empty to take nothing from the cluster")
	flags.StringVar(&s.address, "daemon-address", "", "`host:port` at which a daemon of confcom in this pod or on this machine serves its state and metrics. Found out if it is not given; empty to ask none")
	flags.StringVar(&s.sysroot, "sysroot", "/", "the `directory` with the files of the machine")
	command.RunE = func(command *cobra.Command, _ []string) error {
		if s.kubeconfig != "" {
			if _, err := os.Stat(s.kubeconfig); err != nil {
				return exit.BadInput(fmt.Errorf("--kubeconfig: %w", err))
			}
		}
		s.find = !flags.Changed("daemon-address")
		ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		collected := collect(ctx, s.parts(ctx))
		if ctx.Err() != nil {
			return exit.Failed(errors.New("interrupted: nothing was written"))
		}
		if err := show(command.ErrOrStderr(), collected); err != nil {
			return exit.Failed(err)
		}
		if *list {
			return nil
		}
		var archive bytes.Buffer
		if err := write(&archive, collected, time.Now()); err != nil {
			return exit.Failed(fmt.Errorf("write the archive: %w", err))
		}
		return output.Save(command, *out, archive.Bytes(), "the support bundle")
	}
	return command
}

// parts returns all parts of the bundle.
func (s settings) parts(ctx context.Context) []part {
	parts := []part{{"version.txt", "the version of confcom", "", printed(version.New)}}
	return slices.Concat(parts, s.machine(), s.cluster(ctx))
}
