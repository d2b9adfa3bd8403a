package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

const (
	defaultState = "/var/lib/confcom-cluster"
	stateEnv     = "CONFCOM_CLUSTER_STATE"
)

// newCommand makes the command line. Progress and errors go to standard error,
// what was asked for to standard output.
func newCommand() *cobra.Command {
	var state string
	p := newProgress(os.Stderr)
	root := &cobra.Command{
		Use:   "cluster",
		Short: "Run a real one-node Kubernetes cluster on this machine, for tests",
		Long: `Run a real one-node Kubernetes cluster on this machine, for tests.

Everything but runc is built from source, once (about ten minutes), and cached.
Nothing listens outside this machine, and "cluster down" removes every process,
mount and interface that "cluster up" made. For example:

  cluster up
  eval "$(cluster env)"
  kubectl get nodes
  cluster down`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&state, "state-dir", cmp.Or(os.Getenv(stateEnv), defaultState),
		"directory for all of the cluster's data; down removes it (also $"+stateEnv+")")

	add := func(cmd *cobra.Command, run func(*cobra.Command, layout, []string) error) *cobra.Command {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			l, err := newLayout(state)
			if err != nil {
				return err
			}
			return run(cmd, l, args)
		}
		if cmd.Args == nil {
			cmd.Args = cobra.NoArgs
		}
		root.AddCommand(cmd)
		return cmd
	}
	// exclusive wraps what must run as root and not twice at a time.
	exclusive := func(run func(*cobra.Command, layout, []string) error) func(*cobra.Command, layout, []string) error {
		return func(cmd *cobra.Command, l layout, args []string) error {
			if os.Geteuid() != 0 {
				return fmt.Errorf("`%s` starts or stops containers and must run as root", cmd.CommandPath())
			}
			unlock, err := lock(cmd.Context(), p)
			if err != nil {
				return err
			}
			defer unlock()
			return run(cmd, l, args)
		}
	}

	add(&cobra.Command{
		Use:   "up",
		Short: "Start the cluster and wait until pods can run",
		Long: `Start the cluster and wait until pods can run.

Installs runc and builds the binaries where they are missing. Does nothing when
the cluster is healthy; starts it afresh, without its data, when it is not.`,
	}, exclusive(func(cmd *cobra.Command, l layout, _ []string) error { return up(cmd.Context(), l, p) }))

	add(&cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and remove all it put on the machine but the cached binaries",
	}, exclusive(func(cmd *cobra.Command, l layout, _ []string) error {
		if err := down(cmd.Context(), l); err != nil {
			return err
		}
		p.say("The cluster is down.")
		return nil
	}))

	add(&cobra.Command{
		Use:   "status",
		Short: "Show the components, their health, and where their logs are",
	}, func(cmd *cobra.Command, l layout, _ []string) error {
		return printStatus(cmd.Context(), l, cmd.OutOrStdout())
	})

	add(&cobra.Command{
		Use:     "env",
		Short:   "Print the shell settings with which kubectl and helm reach the cluster",
		Example: `  eval "$(cluster env)"`,
	}, func(cmd *cobra.Command, l layout, _ []string) error {
		bin, err := builtBinDir(cmd.Context())
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG='%s'\nexport PATH='%s':\"$PATH\"\n", l.kubeconfig("admin"), bin)
		return nil
	})

	add(&cobra.Command{
		Use:       "restart COMPONENT",
		Short:     "Restart one component, such as kubelet, and wait until it is ready",
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet"},
	}, exclusive(func(cmd *cobra.Command, l layout, args []string) error {
		done := p.start("restart " + args[0])
		err := restart(cmd.Context(), l, args[0])
		done(err)
		return err
	}))

	add(&cobra.Command{
		Use:   "build",
		Short: "Only build and cache the cluster's binaries",
	}, func(cmd *cobra.Command, _ layout, _ []string) error {
		unlock, err := lock(cmd.Context(), p)
		if err != nil {
			return err
		}
		defer unlock()
		dir, err := build(cmd.Context(), p)
		if err != nil {
			return err
		}
		p.say("The binaries are in %s.", dir)
		return nil
	})

	root.AddCommand(newImageCommand(func() (layout, error) { return newLayout(state) }))

	var bin string
	supervisor := add(&cobra.Command{
		Use:    "supervise",
		Short:  "Run the components (started by up)",
		Hidden: true,
	}, func(cmd *cobra.Command, l layout, _ []string) error {
		l.Bin = bin
		return supervise(cmd.Context(), l)
	})
	supervisor.Flags().StringVar(&bin, "bin-dir", "", "directory of the binaries")
	return root
}

func newImageCommand(open func() (layout, error)) *cobra.Command {
	image := &cobra.Command{Use: "image", Short: "Make container images and load them into the cluster"}

	var r recipe
	var output string
	var files []string
	build := &cobra.Command{
		Use:   "build --tag NAME --output FILE.tar BINARY",
		Short: "Wrap one static binary, and what it needs, into an image",
		Long: `Wrap one static binary, and what it needs, into an image.

The image runs /BINARY's base name. Other files are there if they are added, and
nothing else is. A program that is linked dynamically, which BINARY may start, needs
its libraries, too: --add-libraries asks ldd for them and puts them where they are on
this machine, but for those that are added themselves. In the image there is no cache of
ld.so: it finds a library in its own directories, in those that are linked into who
needs it, and in $LD_LIBRARY_PATH.

The same files give the same image.`,
		Example: `  cluster image build --tag confcom.invalid/hello:local --output hello.tar ./hello
  cluster image build --tag confcom.invalid/hello:local --output hello.tar \
    --add ./greeter=/usr/local/bin/greeter --add-libraries ./greeter ./hello`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if r.tag == "" || output == "" {
				return errors.New("--tag and --output are needed")
			}
			for _, file := range files {
				source, target, found := strings.Cut(file, "=")
				if !found || source == "" {
					return fmt.Errorf("--add=%s: give it as SOURCE=TARGET", file)
				}
				r.files = append(r.files, imageFile{source, target})
			}
			for _, variable := range r.env {
				if key, _, found := strings.Cut(variable, "="); !found || key == "" {
					return fmt.Errorf("--env=%s: give it as KEY=VALUE", variable)
				}
			}
			r.binary = args[0]
			return r.write(output)
		},
	}
	build.Flags().StringVar(&r.tag, "tag", "", "name of the image, as pods give it")
	build.Flags().StringVar(&output, "output", "", "tarball to write")
	build.Flags().StringVar(&r.user, "user", defaultUser, "user and group that the binary runs as")
	build.Flags().StringArrayVar(&r.env, "env", nil, "an environment variable, `KEY=VALUE` (can be given again)")
	build.Flags().StringArrayVar(&files, "add", nil, "a file on this machine and its path in the image, `SOURCE=TARGET` (can be given again)")
	build.Flags().StringArrayVar(&r.librariesOf, "add-libraries", nil, "a program or shared library whose libraries to add, a `FILE` (can be given again)")

	load := &cobra.Command{
		Use:   "load FILE.tar...",
		Short: "Load images into the cluster; pods use them with imagePullPolicy: Never",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			if l.Bin, err = builtBinDir(cmd.Context()); err != nil {
				return err
			}
			if _, err := ask(cmd.Context(), l, "status"); err != nil {
				return explainSilence(l)
			}
			return loadImages(cmd.Context(), l, args...)
		},
	}
	image.AddCommand(build, load)
	return image
}
