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

// runMainEnv turns the test binary into the program itself.
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

// TestBadFlags checks that each flag rejects an invalid value with a reason.
func TestBadFlags(t *testing.T) {
	for _, c := range []struct{ flag, want string }{
		{"--advertise=maybe", "not one of auto, devices, node"},
		{"--max-devices=-1", "not a number of devices"},
		{"--max-devices=many", "not a number of devices"},
		{"--max-devices=300000", "more than 262144 devices exceed the message size that a kubelet accepts"},
		{"--kubelet-version=new", "not a version such as 1.37 or v1.36.3"},
		{"--reserve-epc=lots", "not a size such as 64Mi or 1Gi"},
		{"--reserve-epc=-16Mi", "not a size such as 64Mi or 1Gi"},
		{"--resources=all", `"all" is not one of epc, enclave, provision`},
		{"--epc-resource=epc", "not the name of an extended resource, such as example.com/epc: it has no domain"},
		{"--epc-resource=kubernetes.io/epc", "the domain kubernetes.io is reserved for Kubernetes"},
		{"--enclave-resource=sgx.intel.com/", "not the name of an extended resource"},
		{"--provision-resource=a b/c", "not the name of an extended resource"},
		{"--slots=0", "not a number from 1 to 4096"},
		{"--legacy-device-paths=maybe", "invalid syntax"},
		{"--cdi=maybe", "invalid syntax"},
		{"--enclave-memory=maybe", "invalid syntax"},
		{"--simulate-epc=64MB5", "not a size such as 64Mi or 1Gi"},
		{"--simulate-epc=1500Ki", "not a whole number of MiB, such as 64Mi or 1Gi"},
		{"--log-level=loud", "not one of debug, info, warn, error"},
		{"--log-format=xml", "not one of auto, text, json"},
	} {
		t.Run(c.flag, func(t *testing.T) {
			output, err := command(t, c.flag).CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != 2 || !strings.Contains(string(output), c.flag+": ") || !strings.Contains(string(output), c.want) {
				t.Errorf("%v; want exit status 2, %q and %q\n%s", err, c.flag, c.want, output)
			}
		})
	}
}

// TestCannotRun checks values that only prove wrong on a machine.
func TestCannotRun(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no kubelet directory", []string{"--device-plugin-dir=" + filepath.Join(dir, "absent")}, "run this plugin on a Kubernetes node"},
		{"socket path too long", []string{"--device-plugin-dir=" + filepath.Join(dir, strings.Repeat("x", 108))}, "use a shorter device plugin directory"},
		{"invalid address", []string{"--device-plugin-dir=" + dir, "--http-address=nowhere"}, "--http-address=nowhere: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			output, err := command(t, append(c.args, "--simulate-epc=64Mi")...).CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != 1 || !strings.Contains(string(output), c.want) {
				t.Errorf("%v; want exit status 1 and %q\n%s", err, c.want, output)
			}
		})
	}
}

// TestWaits checks that the plugin logs what it waits for, and ends on SIGTERM.
func TestWaits(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	epc := filepath.Join(bad, "sys/devices/system/node/node0/x86/sgx_total_bytes")
	if err := os.MkdirAll(filepath.Dir(epc), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(epc, []byte("plenty\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	unreadable := filepath.Join(dir, "unreadable")
	if err := os.MkdirAll(filepath.Join(unreadable, "sys/devices/system/node/node0/x86/sgx_total_bytes"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"EPC size is not a number", []string{"--sysroot=" + bad, "--device-plugin-dir=" + dir}, epc + ": not a number of bytes"},
		{"unreadable sysfs", []string{"--sysroot=" + unreadable, "--device-plugin-dir=" + dir}, "read EPC of NUMA node 0"},
		{"no simulated device", []string{"--simulate-epc=64Mi", "--simulate-device=/nonexistent", "--device-plugin-dir=" + dir}, "simulated device /nonexistent: "},
		{"no kubelet socket", []string{"--simulate-epc=64Mi", "--device-plugin-dir=" + dir}, filepath.Join(dir, "kubelet.sock") + " does not exist"},
		{"no SGX", []string{"--sysroot=" + dir, "--device-plugin-dir=" + dir}, "no usable SGX, advertising nothing"},
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
			t.Cleanup(func() { _ = plugin.Process.Kill() }) // has ended already, unless the test failed
			lines := bufio.NewScanner(log)
			logged := false
			for !logged && lines.Scan() {
				logged = strings.Contains(lines.Text(), c.want)
			}
			if !logged {
				t.Errorf("%q was not logged", c.want)
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
