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

// newCommand returns the command line. Progress and errors go to standard error,
// results to standard output.
func newCommand() *cobra.Command {
	var state string
	p := newProgress(os.Stderr)
	root := &cobra.Command{
		Use:   "cluster",
		Short: "Run a real one-node Kubernetes cluster on this machine, for tests",
		Long: `Run a real one-node Kubernetes cluster on this machine, for tests.

Everything but runc is built from source and cached; the first build takes about
ten minutes. Nothing is reachable from other machines, and "cluster down" removes
every process, mount and interface that "cluster up" created. For example:

  cluster up
  eval "$(cluster env)"
  kubectl get nodes
  cluster down`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&state, "state-dir", cmp.Or(os.Getenv(stateEnv), defaultState),
		"directory for all data of the cluster, which down removes; $"+stateEnv+" overrides the default")

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
	// exclusive wraps a command that must run as root and must not run concurrently.
	exclusive := func(run func(*cobra.Command, layout, []string) error) func(*cobra.Command, layout, []string) error {
		return func(cmd *cobra.Command, l layout, args []string) error {
			if os.Geteuid() != 0 {
				return fmt.Errorf("`%s` starts or stops containers: run it as root", cmd.CommandPath())
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

Installs runc and builds the binaries if they are missing. Does nothing if the
cluster is healthy. Otherwise it discards the cluster's data and starts a new one.`,
	}, exclusive(func(cmd *cobra.Command, l layout, _ []string) error { return up(cmd.Context(), l, p) }))

	add(&cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and remove everything but the cached binaries",
	}, exclusive(func(cmd *cobra.Command, l layout, _ []string) error {
		if err := down(cmd.Context(), l); err != nil {
			return err
		}
		p.print("The cluster is stopped and removed.")
		return nil
	}))

	add(&cobra.Command{
		Use:   "status",
		Short: "Show the components, their health, and the directory of their logs",
	}, func(cmd *cobra.Command, l layout, _ []string) error {
		return printStatus(cmd.Context(), l, cmd.OutOrStdout())
	})

	add(&cobra.Command{
		Use:     "env",
		Short:   "Print shell settings for kubectl and helm",
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
		done := p.start("Restarting " + args[0])
		err := restart(cmd.Context(), l, args[0])
		done(err)
		return err
	}))

	var volatile []string
	rebooting := add(&cobra.Command{
		Use:   "reboot",
		Short: "Kill everything and start it again, as a power failure does",
		Long: `Kill everything and start it again, as a power failure does.

Nothing is asked to end. The mounts of pods, the state of the container runtime and the
content of the directories of --volatile are lost; what is on disk stays, such as the
data of etcd and the records of the kubelet.`,
	}, exclusive(func(cmd *cobra.Command, l layout, _ []string) error {
		return reboot(cmd.Context(), l, p, volatile)
	}))
	rebooting.Flags().StringArrayVar(&volatile, "volatile", nil, "a directory that nodes have in memory, whose content is lost (repeatable)")

	add(&cobra.Command{
		Use:   "build",
		Short: "Build and cache the binaries without starting the cluster",
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
		p.print("The binaries are in %s.", dir)
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
	image := &cobra.Command{Use: "image", Short: "Build container images and load them into the cluster"}

	var r recipe
	var output string
	var files []string
	build := &cobra.Command{
		Use:   "build --tag NAME --output FILE.tar BINARY",
		Short: "Build an image from a static binary and the files that it needs",
		Long: `Build an image from a static binary and the files that it needs.

The image runs the binary, which is in / under its base name. It contains no other
files than those added with the flags. If the binary starts a dynamically linked program, the
image needs the libraries of that program: --add-libraries finds them with ldd and
adds them at the paths that they have on this machine, except those that --add has
added elsewhere. The image has no ld.so cache: the linker searches its default
directories, the run paths of the program and of its libraries, and $LD_LIBRARY_PATH.

The same files produce the same image.`,
		Example: `  cluster image build --tag confcom.invalid/hello:local --output hello.tar ./hello
  cluster image build --tag confcom.invalid/hello:local --output hello.tar \
    --add ./greeter=/usr/local/bin/greeter --add-libraries ./greeter ./hello`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if r.tag == "" || output == "" {
				return errors.New("--tag and --output are required")
			}
			for _, file := range files {
				source, target, found := strings.Cut(file, "=")
				if !found || source == "" {
					return fmt.Errorf("--add=%s: want SOURCE=TARGET", file)
				}
				r.files = append(r.files, imageFile{source, target})
			}
			for _, variable := range r.env {
				if key, _, found := strings.Cut(variable, "="); !found || key == "" {
					return fmt.Errorf("--env=%s: want KEY=VALUE", variable)
				}
			}
			r.binary = args[0]
			return r.write(output)
		},
	}
	build.Flags().StringVar(&r.tag, "tag", "", "name of the image, as pods use it")
	build.Flags().StringVar(&output, "output", "", "tarball to write")
	build.Flags().StringVar(&r.user, "user", defaultUser, "user and group of the process")
	build.Flags().StringArrayVar(&r.env, "env", nil, "an environment variable, `KEY=VALUE` (repeatable)")
	build.Flags().StringArrayVar(&files, "add", nil, "a file on this machine and its path in the image, `SOURCE=TARGET` (repeatable)")
	build.Flags().StringArrayVar(&r.librariesOf, "add-libraries", nil, "a program or shared library `FILE` whose libraries to add (repeatable)")

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
				return unreachable(l)
			}
			return loadImages(cmd.Context(), l, args...)
		},
	}
	image.AddCommand(build, load)
	return image
}
