// Release builds what a release of confcom has, and pushes it to a registry:
//
//	go -C tools run ./release build --output DIR
//	go -C tools run ./release push DIR REGISTRY
//	go -C tools run ./release sign --key FILE DIR REGISTRY
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
//
// The images that developers load into a cluster are the same ones, as tarballs:
//
//	go -C tools run ./release images --programs DIR --output DIR
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
  release build --output DIR [--source DIR] [--registry REGISTRY] [--as-is]
  release push DIR REGISTRY
  release sign --key FILE DIR REGISTRY
  release images --programs DIR --output DIR [--source DIR]
  release push-image FILE.tar REGISTRY/NAME:TAG
  release registry [--address HOST:PORT]`

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
	// parse parses the flags and checks that there are as many other arguments.
	parse := func(others int) error {
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if flags.NArg() != others {
			return errors.New(usage)
		}
		return nil
	}
	checkout := func() *string { return flags.String("source", "..", "the checkout") }

	switch args[0] {
	case "build":
		dir := checkout()
		output := flags.String("output", "", "the directory to write, which is replaced")
		registry := flags.String("registry", "", "the default of the chart's global.imageRegistry")
		trial := flags.Bool("as-is", false, "build the checkout even if it differs from its commit, for linux/amd64 only and without provenance: for trials, to be pushed to a loopback address only")
		if err := parse(0); err != nil {
			return err
		}
		if *output == "" {
			return errors.New(usage)
		}
		from, err := asIs(*dir)
		if !*trial {
			from, err = committed(ctx, *dir)
		}
		if err != nil {
			return err
		}
		return build(ctx, from, *registry, *output)
	case "images":
		dir := checkout()
		bin := flags.String("programs", "", "the directory of the programs, which were built for Linux on this machine's architecture")
		output := flags.String("output", "", "the directory for the tarballs")
		if err := parse(0); err != nil {
			return err
		}
		if *bin == "" || *output == "" {
			return errors.New(usage)
		}
		from, err := asIs(*dir)
		if err != nil {
			return err
		}
		return writeImages(from, *bin, *output)
	case "push":
		if err := parse(2); err != nil {
			return err
		}
		return push(ctx, flags.Arg(0), flags.Arg(1), os.Stdout)
	case "push-image":
		if err := parse(2); err != nil {
			return err
		}
		return pushImage(ctx, flags.Arg(0), flags.Arg(1), os.Stdout)
	case "sign":
		file := flags.String("key", "", "the private key: ECDSA on P-256, in PKCS #8 and PEM, without a password")
		if err := parse(2); err != nil {
			return err
		}
		if *file == "" {
			return errors.New("--key is missing: a release is signed with a key of yours\n" + usage)
		}
		key, err := readKey(*file)
		if err != nil {
			return err
		}
		return sign(ctx, flags.Arg(0), flags.Arg(1), key, os.Stdout)
	case "registry":
		address := flags.String("address", "127.0.0.1:0", "the loopback address to listen on")
		if err := parse(0); err != nil {
			return err
		}
		return serveRegistry(ctx, *address, os.Stdout, os.Stderr)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}
