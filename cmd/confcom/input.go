package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/quote"
)

// oneFile accepts just the name of a file as arguments.
func oneFile(command *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("'%s' takes one FILE, \"-\" being the standard input; %d arguments were given", command.CommandPath(), len(args))
	}
	return nil
}

// pemType is the PEM block that a quote is written as where text is needed, as
// in the log of a pod.
const pemType = "SGX QUOTE"

// maxQuoteFile bounds what is read as a quote: a log may come before it.
const maxQuoteFile = 16 << 20

// readQuote reads a quote from a file, "-" being the standard input: the bytes
// themselves, or any text with a quote in PEM in it.
func readQuote(command *cobra.Command, name string) (*quote.Quote, []byte, error) {
	data, err := readFile(command, name)
	if err != nil {
		return nil, nil, badInput(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == pemType {
			data = block.Bytes
			break
		}
	}
	q, err := quote.Parse(data)
	if err != nil {
		return nil, nil, badInput(fmt.Errorf("%s is not a quote: %w", name, err))
	}
	return q, data, nil
}

func readFile(command *cobra.Command, name string) ([]byte, error) {
	in := command.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxQuoteFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(data) > maxQuoteFile:
		return nil, fmt.Errorf("%s has more than %d MiB: that is no quote", name, maxQuoteFile>>20)
	case len(data) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	return data, nil
}

// writeFile writes data to a file, "-" being the standard output. The file is
// there whole or not at all.
func writeFile(command *cobra.Command, name string, data []byte) error {
	if name == "-" {
		_, err := command.OutOrStdout().Write(data)
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}
