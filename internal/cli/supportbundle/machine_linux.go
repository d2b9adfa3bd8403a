package supportbundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/cli/doctor"
	"github.com/confcom/confcom/internal/cli/node"
	diagnosis "github.com/confcom/confcom/internal/doctor"
	inventory "github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/qcnl"
)

// machine returns the parts about the machine or the pod that the command runs in.
func (s settings) machine() []part {
	sysroot := "--sysroot=" + s.sysroot
	if s.find {
		s.address = diagnosis.Address("/proc")
	}
	parts := []part{
		{"node.json", "what SGX this machine has", "names of pods and processes with enclaves", printed(node.New, sysroot, "--output=json")},
		{"doctor.txt", "the diagnosis", "addresses of services", printed(doctor.New, sysroot, "--daemon-address="+s.address)},
		{"machine.txt", "kernel, distribution, processor, SGX devices and their mounts", "", s.describe},
		{"packages.txt", "the installed packages of the SGX platform software", "", s.packages},
		{"quote-provider.conf", "the configuration of the quote provider", "addresses of services", s.provider},
	}
	if s.address != "" {
		parts = append(parts,
			part{"daemon/statusz.json", "flags, environment and conditions of the daemon here", "addresses of proxies, the name of the node", s.ask("statusz")},
			part{"daemon/metrics.txt", "its metrics", "names of pods with EPC", s.ask("metrics")})
	}
	logs, _ := filepath.Glob(filepath.Join(s.sysroot, "/var/log/pods", s.namespace+"_*", "*", "*.log"))
	for _, log := range logs {
		name := strings.TrimPrefix(log, filepath.Join(s.sysroot, "/var/log/pods")+"/")
		parts = append(parts, part{"logs/" + name, "the log of a container on this node", "names of pods, enclaves and addresses", func(context.Context) ([]byte, error) { return tail(log) }})
	}
	return parts
}

// ask returns a function that gets a page of the daemon here.
func (s settings) ask(page string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if diagnosis.Ask(ctx, s.address) == nil {
			return nil, errors.New("no daemon of confcom serves on " + s.address)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/"+page, nil)
		if err != nil {
			return nil, err
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		return io.ReadAll(io.LimitReader(response.Body, maxPart))
	}
}

// provider returns the configuration of the quote provider that is in use here.
func (s settings) provider(ctx context.Context) ([]byte, error) {
	path := qcnl.Path()
	if s.address != "" {
		if own, has := diagnosis.Adopted(diagnosis.Ask(ctx, s.address))["qcnl-config"]; has {
			path = own
		}
	}
	text, err := os.ReadFile(filepath.Join(s.sysroot, path))
	return redact(text), err
}

// packages returns the names and versions of the packages of the platform software.
func (s settings) packages(context.Context) ([]byte, error) {
	status, err := os.ReadFile(filepath.Join(s.sysroot, "/var/lib/dpkg/status"))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for entry := range strings.SplitSeq(string(status), "\n\n") {
		fields := make(map[string]string)
		for line := range strings.Lines(entry) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				fields[key] = value
			}
		}
		name := fields["Package"]
		if strings.Contains(name, "sgx") || strings.Contains(name, "dcap") || strings.Contains(name, "tdx") || slices.Contains([]string{"ca-certificates", "libcurl4", "libcurl4t64", "libc6"}, name) {
			fmt.Fprintf(&out, "%s %s (%s)\n", name, fields["Version"], fields["Status"])
		}
	}
	return out.Bytes(), nil
}

// describe describes what SGX depends on.
func (s settings) describe(context.Context) ([]byte, error) {
	var out bytes.Buffer
	file := func(path string, wanted func(line string) bool) {
		fmt.Fprintf(&out, "== %s\n", path)
		text, err := os.ReadFile(filepath.Join(s.sysroot, path))
		if err != nil {
			fmt.Fprintln(&out, err)
		}
		seen := make(map[string]bool) // such as the lines for each processor
		for line := range strings.Lines(string(text)) {
			if wanted(line) && !seen[line] {
				seen[line] = true
				out.WriteString(line)
			}
		}
		out.WriteString("\n")
	}
	hasAny := func(of ...string) func(string) bool {
		return func(line string) bool {
			return slices.ContainsFunc(of, func(text string) bool { return strings.Contains(line, text) })
		}
	}
	all := func(string) bool { return true }
	file("/proc/version", all)
	file("/etc/os-release", all)
	file("/proc/cpuinfo", func(line string) bool { return hasAny("model name", "microcode")(line) })
	file("/proc/self/mountinfo", hasAny(" /dev ", "sgx", "aesmd"))
	file("/proc/self/status", hasAny("Uid:", "Gid:", "Groups:", "CapEff:", "NoNewPrivs:", "Seccomp:"))
	file("/proc/self/cgroup", all)
	for _, dir := range []string{"/dev", "/dev/sgx", filepath.Dir(aesm.DefaultSocket)} {
		fmt.Fprintf(&out, "== files in %s\n", dir)
		entries, err := os.ReadDir(filepath.Join(s.sysroot, dir))
		if err != nil {
			fmt.Fprintln(&out, err)
		}
		for _, e := range entries {
			if dir != "/dev" || strings.Contains(e.Name(), "sgx") {
				fmt.Fprintln(&out, list(e))
			}
		}
		out.WriteString("\n")
	}
	return out.Bytes(), nil
}

// list describes a file as ls -l does.
func list(e fs.DirEntry) string {
	info, err := e.Info()
	if err != nil {
		return err.Error()
	}
	access, _ := inventory.AccessOf(info)
	return fmt.Sprintf("%s %d:%d %s", info.Mode(), access.User, access.Group, e.Name())
}

// tail returns the end of a file.
func tail(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > maxPart {
		if _, err := file.Seek(-maxPart, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(file, maxPart))
}
