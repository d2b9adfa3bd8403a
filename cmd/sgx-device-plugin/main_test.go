package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// runMainEnv makes the test binary the program itself.
const runMainEnv = "SGX_DEVICE_PLUGIN_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), runMainEnv+"=1")
	return c
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"EPC size is no quantity", []string{"--simulate-epc=64MB5"}, 2, "--simulate-epc=64MB5: not a quantity such as 64Mi or 1Gi"},
		{"EPC size is no whole MiB", []string{"--simulate-epc=1500Ki"}, 2, "--simulate-epc=1500Ki: "},
		{"EPC size is negative", []string{"--simulate-epc=-1Mi"}, 2, "--simulate-epc=-1Mi: "},
		{"no kubelet directory", []string{"--simulate-epc=64Mi", "--kubelet-dir=" + filepath.Join(dir, "absent")}, 1, "run this on a Kubernetes node"},
		{"socket path too long", []string{"--simulate-epc=64Mi", "--kubelet-dir=" + filepath.Join(dir, strings.Repeat("x", 108))}, 1, "use a shorter --kubelet-dir"},
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

// TestWaits: the plugin says what it waits for, and ends when it is asked to.
func TestWaits(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no kubelet socket", []string{"--simulate-epc=64Mi", "--kubelet-dir=" + dir}, filepath.Join(dir, "kubelet.sock") + " is not there"},
		{"no SGX", []string{"--sysroot=" + dir, "--kubelet-dir=" + dir}, "this node has no SGX that pods could use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plugin := command(t, append(c.args, "--log-format=text")...)
			log, err := plugin.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := plugin.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = plugin.Process.Kill() }) // it has ended, unless the test failed
			lines := bufio.NewScanner(log)
			said := false
			for !said && lines.Scan() {
				said = strings.Contains(lines.Text(), c.want)
			}
			if !said {
				t.Errorf("it never said %q", c.want)
			}
			if err := plugin.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() {
			}
			if err := plugin.Wait(); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
		})
	}
}
