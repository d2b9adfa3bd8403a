package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// unusedAfter is how long unused binaries are kept.
const unusedAfter = 7 * 24 * time.Hour

// cacheDir returns the directory with the binaries of all keys.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(base, "confcom", "cluster"), nil
}

// binDir returns the directory of the binaries that the embedded go.mod describes. It
// need not exist yet.
func binDir(ctx context.Context) (string, toolchain, error) {
	t, err := readToolchain(goMod)
	if err != nil {
		return "", t, err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", t, err
	}
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", t, fmt.Errorf("run `go env GOVERSION` (is Go on the PATH?): %w", err)
	}
	key := t.key(strings.TrimSpace(string(version)), runtime.GOARCH, goMod, goSum, pauseSource)
	return filepath.Join(cache, key), t, nil
}

// builtBinDir is binDir for callers that need the binaries to exist.
func builtBinDir(ctx context.Context) (string, error) {
	dir, _, err := binDir(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("the binaries are not built yet: run `cluster up` or `cluster build`: %w", err)
	}
	return dir, nil
}

// build returns the directory of the cluster's binaries, and builds them first if they
// are not cached. They appear there all at once or not at all. After an interruption,
// Go's own build cache keeps what was compiled.
func build(ctx context.Context, p *progress) (dir string, err error) {
	dir, tools, err := binDir(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for cached binaries: %w", err)
	}

	cache := filepath.Dir(dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("create the binary cache: %w", err)
	}
	if err := prune(cache); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, ".build-")
	if err != nil {
		return "", fmt.Errorf("create the build directory: %w", err)
	}
	defer os.RemoveAll(work)
	for name, content := range map[string][]byte{"go.mod": goMod, "go.sum": goSum, "pause/main.go": pauseSource} {
		if err := writePrivate(filepath.Join(work, "source", name), content); err != nil {
			return "", err
		}
	}

	p.print("Building Kubernetes from source, which takes about ten minutes the first time. The result is cached in %s.", dir)
	out := filepath.Join(work, "bin")
	for i, pkg := range tools.packages {
		name := binaryName(pkg)
		done := p.start(fmt.Sprintf("[%d/%d] %s", i+1, len(tools.packages), name))
		err := compile(ctx, filepath.Join(work, "source"), tools.args(pkg, filepath.Join(out, name)))
		done(err)
		if err != nil {
			return "", fmt.Errorf("build %s: %w", pkg, err)
		}
	}
	if err := os.Rename(out, dir); err != nil {
		return "", fmt.Errorf("move the binaries into the cache: %w", err)
	}
	return dir, nil
}

// compile runs the go command in its own process group, so that an interruption ends
// the compilers as well.
func compile(ctx context.Context, source string, args []string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w\n%s", err, lastLines(output.Bytes(), 20))
	}
	return nil
}

// prune removes what killed builds have left, and binaries not used for a long time.
func prune(cache string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return fmt.Errorf("read the binary cache: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // removed in the meantime
		}
		if e.IsDir() && (strings.HasPrefix(e.Name(), ".build-") || time.Since(info.ModTime()) > unusedAfter) {
			if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
				return fmt.Errorf("prune the binary cache: %w", err)
			}
		}
	}
	return nil
}

// lastLines returns the last lines of a program's output, which usually say why it
// failed.
func lastLines(output []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
