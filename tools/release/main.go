// Release builds what a release of confcom has, and pushes it to a registry:
//
//	go -C tools run ./release build --output DIR
//	go -C tools run ./release push DIR REGISTRY
//
// A release follows from a commit and the version of Go alone: nothing in it depends on
// the machine, the user, the directory or the time. It contains
//
//	bin/                   the command confcom, for each platform
//	confcom-VERSION.tgz    the Helm chart, which names images by digest
//	krew/                  the same command as a plugin of kubectl, with a manifest of krew
//	oci/                   images, chart and SBOMs as one OCI image layout
//	sbom/                  what each image and each program contains (SPDX)
//	provenance.json        an in-toto statement of what was built from what
//	SHA256SUMS             the checksums of all files
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
)

const usage = `usage:
  release build --output DIR [--source DIR] [--registry REGISTRY]
  release push DIR REGISTRY`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := pflag.NewFlagSet("release", pflag.ContinueOnError)
	flags.Usage = func() { fmt.Fprintf(os.Stderr, "%s\n%s", usage, flags.FlagUsages()) }
	switch args[0] {
	case "build":
		checkout := flags.String("source", "..", "the checkout to build; it must be as committed")
		output := flags.String("output", "", "the directory to write, which is replaced")
		registry := flags.String("registry", "", "the default of the chart's global.imageRegistry")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if *output == "" || flags.NArg() > 0 {
			return errors.New(usage)
		}
		from, err := committed(ctx, *checkout)
		if err != nil {
			return err
		}
		return build(ctx, from, *registry, *output)
	case "push":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if flags.NArg() != 2 {
			return errors.New(usage)
		}
		return push(ctx, flags.Arg(0), flags.Arg(1), os.Stdout)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}
