package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// runcPackage is the Debian package of runc, the only program that is not built here:
// it needs a C compiler and libseccomp, and every distribution has it.
const runcPackage = "runc"

// findRunc returns the path of runc, and installs it first if it is missing.
func findRunc(ctx context.Context, p *progress) (string, error) {
	if path, err := exec.LookPath("runc"); err == nil {
		return path, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", errors.New("runc is missing: install it with this machine's package manager")
	}
	done := p.start("Installing the Debian package " + runcPackage)
	err := aptInstall(ctx, runcPackage)
	if err != nil {
		// The package lists of a new machine may be empty or out of date.
		if err = apt(ctx, "update"); err == nil {
			err = aptInstall(ctx, runcPackage)
		}
	}
	done(err)
	if err != nil {
		return "", fmt.Errorf("install runc: %w: install it by hand: apt-get update && apt-get install %s", err, runcPackage)
	}
	return exec.LookPath("runc")
}

func aptInstall(ctx context.Context, name string) error {
	return apt(ctx, "install", "--yes", "--no-install-recommends", name)
}

func apt(ctx context.Context, args ...string) error {
	// An installation is never interrupted, not even by Ctrl-C: a half-configured package
	// is worse than a short wait.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "apt-get", append([]string{"--quiet"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, lastLines(output, 5))
	}
	return nil
}
