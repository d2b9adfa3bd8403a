// Package installation is the command 'confcom installation': it checks an installation of
// the chart from a pod in its cluster.
package installation

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/installation"
)

// pollInterval is how often an installation that does not work yet is examined again.
const pollInterval = time.Second

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "installation",
		Short: "Check an installation of the chart, from a pod: 'helm test' runs this",
		Long: `Check, from a pod in a cluster, an installation of the chart: whether its pods are
ready and if not, why; whether its admission policies are in force; and whether nodes
advertise EPC (Enclave Page Cache). What does not hold is checked again until the timeout.
'helm test' runs this command in a pod whose service account may read just these objects,
and the events beside them. It asks daemons that are not ready for their state.

Exit codes: 0 the installation works; 1 it does not; 2 bad input, or not in a pod.`,
		Example: `  helm test confcom -n confcom-system --logs
  confcom installation --object DaemonSet/sgx-device-plugin`,
		Args: args.None,
	}
	var i installation.Installation
	format := output.FormatFlag(command)
	command.Flags().Func("object", "`KIND/NAME` of an object of the chart; repeatable. The binding of a policy has the same name", func(text string) error {
		o, err := installation.ParseObject(text)
		i.Objects = append(i.Objects, o)
		return err
	})
	command.Flags().StringVar(&i.Resource, "epc-resource", "kubernetes.azure.com/sgx_epc_mem_in_MiB", "the `name` of the resource that counts MiB of EPC")
	timeout := command.Flags().Duration("timeout", 20*time.Second, "how long to wait for what does not hold yet: a kubelet writes the EPC of its node every 10 seconds")
	command.RunE = func(command *cobra.Command, _ []string) error {
		var err error
		if i.API, i.Namespace, err = installation.InCluster(installation.ServiceAccountDir, os.Getenv); err != nil {
			return exit.BadInput(err)
		}
		checks := wait(command.Context(), i, *timeout)
		if *format == output.JSON {
			err = output.WriteJSON(command, checks)
		} else {
			err = show(command.OutOrStdout(), checks)
		}
		switch {
		case err != nil:
			return exit.Failed(err)
		case !installation.Works(checks):
			return exit.Quietly(exit.CodeFailed)
		}
		return nil
	}
	return command
}

// wait examines an installation until it works or the time is over.
func wait(ctx context.Context, i installation.Installation, timeout time.Duration) []installation.Check {
	over := time.After(timeout)
	for {
		checks := i.Examine(ctx)
		if installation.Works(checks) {
			return checks
		}
		select {
		case <-ctx.Done():
			return checks
		case <-over:
			return checks
		case <-time.After(pollInterval):
		}
	}
}

// show writes checks as text and, last, a summary.
func show(w io.Writer, checks []installation.Check) error {
	p := output.NewPage(w)
	remedies := make(map[string]string) // the check that each was first printed for
	for _, c := range checks {
		verdict := "ok: "
		if !c.OK {
			verdict = "FAILED: "
		}
		p.Text(c.Name, verdict+c.Seen)
		if same, printed := remedies[c.Remedy]; printed {
			p.Text("", "-> as for "+same)
		} else if c.Remedy != "" {
			p.Text("", "-> "+c.Remedy)
			remedies[c.Remedy] = c.Name
		}
	}
	p.Line("")
	if installation.Works(checks) {
		p.Line("the installation works")
	} else {
		p.Line("THE INSTALLATION DOES NOT WORK; start with the first that failed")
	}
	return p.Err()
}
