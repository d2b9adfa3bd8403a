// Package input reads what commands are given: files, standard input and quotes.
package input

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/evidence"
)

// maxSize bounds an input in bytes.
const maxSize = evidence.MaxSize

// Reader returns File for a command.
func Reader(command *cobra.Command) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) { return File(command, name) }
}

// File reads a file, "-" being the command's standard input. An empty file is an
// error.
func File(command *cobra.Command, name string) ([]byte, error) {
	in := command.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSize+1))
	switch {
	case err != nil:
		return nil, err // it names the file
	case len(data) > maxSize:
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxSize>>20)
	case len(data) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	return data, nil
}
