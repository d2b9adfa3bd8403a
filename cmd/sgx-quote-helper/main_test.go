package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// runMainEnv makes the test binary run the program.
const runMainEnv = "SGX_QUOTE_HELPER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	// A program with the race detector sleeps for a second before it exits.
	c.Env = append(os.Environ(), runMainEnv+"=1", "GORACE=atexit_sleep_ms=0")
	return c
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live.socket")
	listener, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The socket under another name of its directory.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	link = filepath.Join(link, "live.socket")

	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"no platform", nil, 1, "no --platform: pass --platform=dcap for quotes from the SGX hardware of this node"},
		{"no platform, but a socket upstream", []string{"--upstream-socket=" + live}, 1, "--platform=upstream for those of another AESM daemon"},
		{"unknown platform", []string{"--platform=magic"}, 2, "--platform=magic: unknown platform: must be dcap, upstream or simulated"},
		{"too few slots", []string{"--platform=simulated", "--slots=-1"}, 1, "--slots=-1: must be at least 1"},
		{"too few slots upstream", []string{"--platform=upstream", "--upstream-socket=" + live, "--slots=-1"}, 1, "--slots=-1: must be at least 1"},
		{"slots that are no number", []string{"--platform=simulated", "--slots=many"}, 2, "--slots"},
		{"nothing upstream", []string{"--platform=upstream"}, 1, "--platform=upstream needs --upstream-socket"},
		{"itself upstream", []string{"--platform=upstream", "--socket=" + live, "--upstream-socket=" + live}, 1, "--upstream-socket=" + live + " is the same socket as --socket"},
		{"itself upstream by another name", []string{"--platform=upstream", "--socket=" + live, "--upstream-socket=" + link}, 1, "--upstream-socket=" + link + " is the same socket as --socket"},
		{"the usual socket upstream", []string{"--platform=upstream", "--upstream-socket=" + aesm.DefaultSocket}, 1, "is the same socket as --socket"},
		{"no worker program", []string{"--platform=dcap", "--worker-program=" + dir + "/none"}, 1, "--worker-program=" + dir + "/none: stat " + dir + "/none: no such file"},
		{"too few workers", []string{"--platform=dcap", "--workers=-1"}, 1, "--workers=-1: must be at least 1"},
		{"no time for workers", []string{"--platform=dcap", "--worker-timeout=0s"}, 1, "--worker-timeout=0s: must be greater than 0"},
		{"socket path too long", []string{"--platform=simulated", "--socket=" + filepath.Join(dir, strings.Repeat("x", 108))}, 1, "107"},
		{"socket of a live daemon", []string{"--platform=simulated", "--socket=" + live}, 1, aesm.ErrInUse.Error() + " (--takeover takes over)"},
		{"socket is a file", []string{"--platform=simulated", "--socket=" + file}, 1, file},
		{"socket is a file, to be taken over", []string{"--platform=simulated", "--takeover", "--socket=" + file}, 1, aesm.ErrNotSocket.Error()},
		{"socket is a directory", []string{"--platform=simulated", "--socket=" + dir}, 1, dir + ": " + aesm.ErrDirectory.Error()},
		{"abstract socket", []string{"--platform=simulated", "--takeover", "--socket=@aesm"}, 1, "abstract sockets are not supported"},
		{"no directory", []string{"--platform=simulated", "--socket=/nonexistent/dir/aesm.socket"}, 1, "/nonexistent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			output, err := command(t, c.args...).CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != c.exit || !strings.Contains(string(output), c.want) {
				t.Errorf("%v; want exit status %d and %q\n%s", err, c.exit, c.want, output)
			}
		})
	}
}

// A helper that may not write to the directory of its socket says whose it is.
func TestDirectoryOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	c := command(t, "--platform=simulated", "--socket="+filepath.Join(dir, "aesm.socket"))
	if os.Geteuid() == 0 { // root may write to it
		for parent := dir; parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
			if err := os.Chmod(parent, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		program := filepath.Join(t.TempDir(), "program")
		if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := copyFile(os.Args[0], program); err != nil {
			t.Fatal(err)
		}
		c.Path = program
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	}
	output, err := c.CombinedOutput()
	for _, want := range []string{"permission denied", "may not write to " + dir + ", mode 0", "'chown ", "runAsUser"} {
		if err == nil || !strings.Contains(string(output), want) {
			t.Errorf("%v; want %q\n%s", err, want, output)
		}
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func TestSameSocket(t *testing.T) {
	dir := t.TempDir()
	here, link := filepath.Join(dir, "here"), filepath.Join(dir, "link")
	if err := os.Mkdir(here, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	for _, c := range []struct {
		name, a, b string
		want       bool
	}{
		{"the same path", here + "/s", here + "/s", true},
		{"another name", here + "/s", here + "/t", false},
		{"another directory", here + "/s", dir + "/s", false},
		{"by a link", here + "/s", link + "/s", true},
		{"by a link, another name", here + "/s", link + "/t", false},
		{"by a detour", here + "/s", link + "/../here/./s", true},
		{"relative", here + "/s", "s", true},
		{"relative, elsewhere", here + "/s", "../s", false},
		{"no directory, the same path", dir + "/none/s", dir + "/none/./s", true},
		{"no directory, another path", dir + "/none/s", dir + "/gone/s", false},
		{"one directory", here + "/s", dir + "/none/s", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if sameSocket(c.a, c.b) != c.want || sameSocket(c.b, c.a) != c.want {
				t.Errorf("%s and %s: want %t", c.a, c.b, c.want)
			}
		})
	}
}

// A link may lead to the socket itself.
func TestSameSocketByLinkToSocket(t *testing.T) {
	dir := t.TempDir()
	socket, link := filepath.Join(dir, "aesm.socket"), filepath.Join(dir, "upstream.socket")
	if err := os.Symlink("aesm.socket", link); err != nil { // before there is a socket
		t.Fatal(err)
	}
	if !sameSocket(link, socket) {
		t.Errorf("%s and %s: want the same socket", link, socket)
	}
}

func TestConcurrency(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"simulated", []string{"--platform=simulated"}, runtime.GOMAXPROCS(0)},
		{"simulated, with --slots", []string{"--platform=simulated", "--slots=7"}, 7},
		{"upstream", []string{"--platform=upstream", "--upstream-socket=" + dir + "/up"}, 2},
		{"dcap", []string{"--platform=dcap", "--worker-program=" + os.Args[0]}, min(runtime.GOMAXPROCS(0), 4)},
		{"dcap, with --workers", []string{"--platform=dcap", "--worker-program=" + os.Args[0], "--workers=3"}, 3},
		{"upstream, with --slots", []string{"--platform=upstream", "--upstream-socket=" + dir + "/up", "--slots=1"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b backendFlags
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			b.add(flags)
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			env := &daemon.Environment{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
			opened, err := b.open(dir+"/s", env)
			if err != nil {
				t.Fatal(err)
			}
			defer opened.close()
			if opened.Backend == nil || opened.concurrency != c.want {
				t.Errorf("concurrency %d, want %d", opened.concurrency, c.want)
			}
		})
	}
}

// program is a running sgx-quote-helper.
type program struct {
	*exec.Cmd
	log   *bufio.Scanner
	probe string // the URL of its readiness probe
}

// start runs the program until the test ends.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{Cmd: command(t, append(args, "--log-format=text", "--http-address=127.0.0.1:0")...)}
	log, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill() // it has ended, unless the test failed
		_ = p.Wait()
	})
	p.log = bufio.NewScanner(log)
	_, address, _ := strings.Cut(p.expect(t, "serving health and metrics"), "address=")
	p.probe = "http://" + address + "/readyz"
	return p
}

// expect waits for a line of the log, and returns it.
func (p *program) expect(t *testing.T, text string) string {
	t.Helper()
	for p.log.Scan() {
		if line := p.log.Text(); strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("the program ended before it logged %q", text)
	return ""
}

// terminate asks the program to stop, and expects that it does.
func (p *program) terminate(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "msg=stopped")
	if err := p.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// expectReady waits until the probe returns a status and conditions.
func (p *program) expectReady(t *testing.T, want string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var got string
	for late := time.Now().Add(10 * time.Second); time.Now().Before(late); time.Sleep(time.Millisecond) {
		response, err := client.Get(p.probe)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		got = fmt.Sprintf("%d %s", response.StatusCode, body)
		if got == want {
			return
		}
	}
	t.Fatalf("the probe returns %q, want %q", got, want)
}

// What the probe returns.
const (
	ready    = "200 [+] running\n[+] socket\n[+] quotes\n"
	replaced = "503 [+] running\n[-] socket: another daemon serves it\n[+] quotes\n"
)

// getQuote requests a quote as an application does.
func getQuote(t *testing.T, socket string) {
	t.Helper()
	client := aesm.Client{Socket: socket}
	data, err := client.Quote(t.Context(), func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
		return simulation.DefaultCPU().Report(sgx.ReportBody{}, target)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quote.Parse(data); err != nil {
		t.Error(err)
	}
}

// The program serves a quote and stops when it is asked to.
func TestServes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	p := start(t, "--platform=simulated", "--socket="+socket)
	p.expect(t, "serving quotes")
	getQuote(t, socket)
	p.expect(t, "msg=quote")
	p.terminate(t)
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket file remains")
	}
}

// One program takes over from another and is killed. All the while, their probes say
// which one is ready.
func TestReadiness(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	flags := []string{"--platform=simulated", "--socket=" + socket, "--takeover", "--stand-by"}
	first := start(t, flags...)
	first.expectReady(t, ready)
	second := start(t, flags...)
	second.expectReady(t, ready)
	first.expectReady(t, replaced)
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.expectReady(t, ready)
	getQuote(t, socket)
	first.terminate(t)
}

// One program serves the quotes of another.
func TestUpstream(t *testing.T) {
	dir := t.TempDir()
	upstream, socket := filepath.Join(dir, "upstream.socket"), filepath.Join(dir, "aesm.socket")
	behind := start(t, "--platform=simulated", "--socket="+upstream)
	behind.expect(t, "serving quotes")
	p := start(t, "--platform=upstream", "--upstream-socket="+upstream, "--socket="+socket)
	p.expectReady(t, ready)
	getQuote(t, socket)
	behind.terminate(t)
	p.terminate(t)
}
