// Package top is the command 'confcom top': it shows how much EPC the nodes and pods of a
// cluster have, and how many quotes they get.
//
//   - kubectl.go calls kubectl, which knows every way to authenticate.
//   - cluster.go reads nodes and pods from the API server.
//   - daemons.go gets the metrics of the daemons.
//   - view.go puts together what is shown, text.go prints it.
package top

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
)

// defaultResource is epc.DefaultResource, whose package is for Linux only.
const defaultResource = "kubernetes.azure.com/sgx_epc_mem_in_MiB"

// minInterval is the shortest time between two polls.
const minInterval = time.Second

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "top",
		Short: "Show the EPC and the quotes of a cluster's nodes and pods",
		Long: `Show how much EPC (Enclave Page Cache) the nodes of a cluster have and their pods request,
how many quotes they get per second, and which errors there are. The screen is updated until
you press Ctrl-C. In JSON, each update is a line.

Nodes and pods come from the API server, by kubectl. Quotes and errors come from the
metrics of confcom's daemons, through the API server or, where a network policy prevents
that, through kubectl port-forward. What it cannot get is shown as "-", with the reason
below. EPC is what pods request: how much of it their enclaves use is not known, since
Linux does not count it. MAPPED is how many MiB of enclave memory their processes map, usually
an upper bound. The device plugins know it if the chart has devicePlugin.enclaveMemory=true.

It needs permission to list nodes and pods of all namespaces, and to get pods/proxy or to
create pods/portforward in the namespace of the chart.

Exit codes: 0 shown; 1 the cluster cannot be read; 2 bad input.`,
		Example: `  confcom top
  confcom top --once
  confcom top -o json | jq '.nodes[] | select(.quotes.available == false)'`,
		Args: args.None,
	}
	var k kubectl
	var c cluster
	format := output.FormatFlag(command)
	flags := command.Flags()
	flags.StringVar(&k.path, "kubectl", "kubectl", "name or `path` of kubectl")
	flags.StringVar(&k.kubeconfig, "kubeconfig", "", "the kubeconfig `file` for kubectl; empty for kubectl's default")
	flags.StringVar(&k.context, "context", "", "the `name` of a context in the kubeconfig file; empty for the current one")
	flags.StringVar(&c.namespace, "namespace", "confcom-system", "the `namespace` that the chart is installed in")
	flags.StringVar(&c.resource, "epc-resource", defaultResource, "the `name` of the resource that counts MiB of EPC")
	interval := flags.Duration("interval", 5*time.Second, "the time between two updates, at least 1s")
	once := flags.Bool("once", false, "print one screen and exit, with the quotes of one interval")
	command.RunE = func(command *cobra.Command, _ []string) error {
		if *interval < minInterval {
			return fmt.Errorf("--interval=%s: less than %s", *interval, minInterval)
		}
		if k.kubeconfig != "" {
			if _, err := os.Stat(k.kubeconfig); err != nil {
				return exit.BadInput(fmt.Errorf("--kubeconfig: %w", err))
			}
		}
		ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		c.kubectl = k
		d := newDaemons(k, c.namespace)
		defer d.close()
		show := screen(command)
		if *format == output.JSON {
			show = func(v view) error {
				if *once {
					return output.WriteJSON(command, v)
				}
				return json.NewEncoder(command.OutOrStdout()).Encode(v) // a line for each update
			}
		}
		if err := run(ctx, &c, d, *interval, *once, show); err != nil {
			return exit.Failed(err)
		}
		return nil
	}
	return command
}

// run shows the cluster until ctx is done, or once. The first poll has no rates, so with once
// the second one is shown. If a later poll fails, the former state stays, with a note.
func run(ctx context.Context, c *cluster, d *daemons, interval time.Duration, once bool, show func(view) error) error {
	var state *state
	for polls := 0; ; polls++ {
		next, err := c.read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err == nil:
			state = next
		case state == nil || once:
			return err
		}
		d.poll(ctx, state.daemons)
		if ctx.Err() != nil {
			return nil
		}
		if polls > 0 || !once {
			v := newView(state, d)
			if err != nil {
				v.Notes = append(v.Notes, "nodes and pods are those of before: "+err.Error())
			}
			if err := show(v); err != nil {
				return err
			}
		}
		if once && polls > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}

// screen returns what shows a view as text: in place on a terminal, else one after the other.
func screen(command *cobra.Command) func(view) error {
	w := command.OutOrStdout()
	if !output.IsTerminal(w) || runtime.GOOS == "windows" || os.Getenv("TERM") == "dumb" {
		return func(v view) error { return v.write(w, 0) }
	}
	return func(v view) error {
		_, height, err := term.GetSize(int(w.(*os.File).Fd()))
		if err != nil {
			height = 0
		}
		// To the upper left corner, and clear the screen (ECMA-48).
		if _, err := fmt.Fprint(w, "\x1b[H\x1b[2J"); err != nil {
			return err
		}
		return v.write(w, height)
	}
}
