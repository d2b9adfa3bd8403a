// Confcom is the command for people who run confidential workloads on SGX nodes: it
// shows what SGX a machine has, diagnoses it, and gets, verifies and benchmarks quotes.
package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/confcom/confcom/internal/cli"
)

func main() {
	command := cli.New()
	// Under this name, kubectl runs it as "kubectl confcom".
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "kubectl-confcom" {
		cli.NameAs(command, "kubectl confcom")
	}
	os.Exit(cli.Run(context.Background(), command, os.Args[1:]))
}
