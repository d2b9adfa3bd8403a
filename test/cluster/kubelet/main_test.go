//go:build kubelet

package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

const (
	// programEnv is the environment variable with the path of the program to test.
	programEnv = "CONFCOM_DEVICE_PLUGIN"
	// outsideEnv is set, in the process that runs the tests, to the mount namespace
	// of the machine, which that process must not be in.
	outsideEnv = "CONFCOM_TEST_OUTSIDE"
	// kubeletEnv turns the test binary into a kubelet that can be killed.
	kubeletEnv = "CONFCOM_TEST_KUBELET"

	kubeletRoot = "/var/lib/kubelet"
)

// program is the path of the sgx-device-plugin to test.
var program = os.Getenv(programEnv)

func TestMain(m *testing.M) {
	switch outside := os.Getenv(outsideEnv); {
	case program == "":
		fmt.Println("NOT RUN: the tests against the kubelet's device manager need " + programEnv + "=/path/to/sgx-device-plugin; 'make kubelet' sets it")
		return
	case os.Getuid() != 0:
		fmt.Println("NOT RUN: the tests against the kubelet's device manager create a mount namespace, which needs root")
		return
	case outside == "":
		os.Exit(inNamespace())
	default:
		if err := hideKubelet(outside); err != nil {
			fmt.Fprintln(os.Stderr, "hide this machine's kubelet from the tests:", err)
			os.Exit(1)
		}
	}
	klog.SetLoggerWithOptions(kubeletLog.logger(), klog.ContextualLogger(true))
	if os.Getenv(kubeletEnv) != "" {
		serveUntilKilled()
	}

	before := goroutines()
	code := m.Run()
	if left := leftGoroutines(before); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s", left)
		code = 1
	}
	os.Exit(code)
}

// inNamespace runs the tests in a child process with its own mount namespace, and
// returns the exit code.
func inNamespace() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "run the tests in a mount namespace:", err)
		return 1
	}
	path, err := filepath.Abs(program)
	if err != nil {
		return fail(err)
	}
	if _, err := exec.LookPath(path); err != nil {
		return fail(fmt.Errorf("%s=%s: %w", programEnv, program, err))
	}
	outside, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return fail(err)
	}
	// The mount point must exist. If it did not before, remove it afterwards.
	if err := os.Mkdir(kubeletRoot, 0o755); err == nil {
		defer os.Remove(kubeletRoot) // only while it is empty
	} else if !errors.Is(err, os.ErrExist) {
		return fail(err)
	}

	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), programEnv+"="+path, outsideEnv+"="+outside)
	// CLONE_NEWNS also makes all mounts private.
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = child.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(1, exit.ExitCode()) // -1 after a signal
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

// hideKubelet mounts an empty file system over the kubelet's directory. It returns an
// error in the given mount namespace.
func hideKubelet(outside string) error {
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	if here == outside {
		return fmt.Errorf("this is the mount namespace of the machine: do not set %s by hand", outsideEnv)
	}
	if os.Getenv(kubeletEnv) != "" {
		return nil // it shares the directory with the tests that started it
	}
	if err := unix.Mount("tmpfs", kubeletRoot, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount an empty file system on %s: %w", kubeletRoot, err)
	}
	return os.MkdirAll(dir, 0o755)
}

// goroutines returns the stacks of all goroutines by number.
func goroutines() map[string]string {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 2) // writing to a buffer never fails
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		number, _, _ := strings.Cut(stack, " [")
		stacks[number] = stack
	}
	return stacks
}

// leftGoroutines returns the stacks of the tests' own goroutines that did not exist
// before and do not end. It ignores goroutines of the kubelet, which does not close its
// connection to a plugin that dies while it registers.
func leftGoroutines(before map[string]string) string {
	var left string
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		left = ""
		for number, stack := range goroutines() {
			if _, ok := before[number]; !ok && strings.Contains(stack, "test/cluster/kubelet.") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}

// serveUntilKilled runs a kubelet. It writes a line to standard output when plugins can
// register, and ends with the process that started it.
func serveUntilKilled() {
	if _, err := newManager(nil); err != nil {
		fmt.Fprintln(os.Stderr, "kubelet:", err)
		os.Exit(1)
	}
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
