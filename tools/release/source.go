package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// repository is where the sources of a release are.
const repository = "https://github.com/confcom/confcom"

// source is what a release is built from.
type source struct {
	dir    string
	commit string    // empty if the files may differ from any commit
	time   time.Time // of the commit, if there is one: the only time in a release
}

// asIs returns the checkout in dir, whatever its files. What is built from it is for trials:
// it has no provenance, and is for linux/amd64 only. Its time is now, so that no cluster has
// it already.
func asIs(dir string) (source, error) {
	dir, err := filepath.Abs(dir)
	return source{dir: dir, time: time.Now().UTC().Truncate(time.Second)}, err
}

// committed returns the checkout in dir. It refuses files that differ from the commit:
// nobody else could build that release.
func committed(ctx context.Context, dir string) (source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return source{}, err
	}
	// The user's own settings could hide files.
	status, err := output(ctx, dir, "git", "-c", "core.excludesFile=/dev/null", "status", "--porcelain", "--untracked-files=all")
	if err != nil {
		return source{}, err
	}
	if status != "" {
		return source{}, fmt.Errorf("%s differs from its commit: a release is built from a commit, so commit or remove these files:\n%s", dir, status)
	}
	head, err := output(ctx, dir, "git", "show", "--no-patch", "--format=%H %ct", "HEAD")
	if err != nil {
		return source{}, err
	}
	commit, seconds, _ := strings.Cut(head, " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return source{}, fmt.Errorf("git show: %q is not a commit and its time", head)
	}
	return source{dir, commit, time.Unix(unix, 0).UTC()}, nil
}

// chartMetadata is as much of Chart.yaml as a release needs.
type chartMetadata struct {
	Name        string `yaml:"name"`
	Version     string `yaml:"version"`
	AppVersion  string `yaml:"appVersion"`
	Description string `yaml:"description"`
}

// chart reads the chart's metadata. Chart and programs have one version.
func (s source) chart() (chartMetadata, error) {
	var chart chartMetadata
	text, err := os.ReadFile(filepath.Join(s.dir, chartDir, "Chart.yaml"))
	if err != nil {
		return chart, err
	}
	if err := yaml.Unmarshal(text, &chart); err != nil {
		return chart, fmt.Errorf("read Chart.yaml: %w", err)
	}
	if chart.Version == "" || chart.Version != chart.AppVersion {
		return chart, fmt.Errorf("read Chart.yaml: version is %q and appVersion %q: a release has one version", chart.Version, chart.AppVersion)
	}
	return chart, nil
}

// output runs a command and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	text, err := command.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			return "", fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(failed.Stderr)))
		}
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return strings.TrimSpace(string(text)), nil
}
