// Confcom is the command for people who run confidential workloads on SGX nodes: it
// shows what SGX a machine has, diagnoses it, and gets, verifies and benchmarks quotes.
package main

import (
	"context"
	"os"

	"github.com/confcom/confcom/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), cli.New(), os.Args[1:]))
}
