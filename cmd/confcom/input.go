package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

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
// themselves, or text with just one quote in PEM in it. Bytes that are a quote
// are never searched for another one.
func readQuote(command *cobra.Command, name string) (*quote.Quote, []byte, error) {
	data, err := readFile(command, name)
	if err != nil {
		return nil, nil, badInput(err)
	}
	if utf8.Valid(data) {
		if data, err = onlyPEM(data); err != nil {
			return nil, nil, badInput(fmt.Errorf("%s: %w", name, err))
		}
	}
	q, err := quote.Parse(data)
	if err != nil {
		return nil, nil, badInput(fmt.Errorf("%s is not a quote: %w", name, err))
	}
	return q, data, nil
}

// onlyPEM returns the one quote in a text.
func onlyPEM(text []byte) ([]byte, error) {
	var quotes [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == pemType {
			quotes = append(quotes, block.Bytes)
		}
	}
	switch len(quotes) {
	case 0:
		return nil, fmt.Errorf("this is text without a PEM block %q at the start of its lines", pemType)
	case 1:
		return quotes[0], nil
	}
	return nil, fmt.Errorf("%d quotes in one text: give one", len(quotes))
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

// writeFile writes data to a file, "-" being the standard output.
func writeFile(command *cobra.Command, name string, data []byte) error {
	if name == "-" {
		_, err := command.OutOrStdout().Write(data)
		return err
	}
	return os.WriteFile(name, data, 0o666) // less what the umask takes
}
