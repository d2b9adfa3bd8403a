package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// runMainEnv turns the test binary into the program itself.
const runMainEnv = "SGX_NODE_RESOURCE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestCannotRun(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"no node name", nil, 1, "set NODE_NAME in the environment"},
		{"no API server", []string{"--node-name=node-1"}, 1, "run this in a pod with a service account, or pass --kubeconfig"},
		{"no kubeconfig", []string{"--node-name=node-1", "--kubeconfig=/nonexistent/config"}, 1, "/nonexistent/config"},
		{"no state directory", []string{"--node-name=node-1", "--state-dir="}, 1, "not an absolute path"},
		{"unknown flag", []string{"--advertise=node"}, 2, "unknown flag: --advertise"},
		{"remove without an API server", []string{"--remove=example.com/epc"}, 1, "run this in a pod with a service account, or pass --kubeconfig"},
		{"label without a node name", []string{"--label-node"}, 1, "set NODE_NAME in the environment"},
		{"label without an API server", []string{"--label-node", "--node-name=node-1"}, 1, "run this in a pod with a service account, or pass --kubeconfig"},
		{"unlabel without an API server", []string{"--unlabel-nodes"}, 1, "run this in a pod with a service account, or pass --kubeconfig"},
		{"label and write the status", []string{"--label-node", "--remove=example.com/epc"}, 1, "choose one of --label-node, --unlabel-nodes and --remove"},
		{"remove nothing", []string{"--remove="}, 2, "not the name of an extended resource"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), os.Args[0], c.args...)
			command.Env = []string{runMainEnv + "=1"}
			output, err := command.CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != c.exit || !strings.Contains(string(output), c.want) {
				t.Errorf("%v; want exit status %d and %q\n%s", err, c.exit, c.want, output)
			}
		})
	}
}
