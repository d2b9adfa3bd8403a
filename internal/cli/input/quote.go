package input

import (
	"encoding/pem"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/quote"
)

// PEMType is the type of the PEM block that holds a quote where text is needed, as in
// the log of a pod.
const PEMType = "SGX QUOTE"

// Quote reads a quote from a file, "-" being standard input: its bytes, or text that
// contains exactly one quote in PEM. Bytes that are a quote are never searched for
// another one.
func Quote(command *cobra.Command, name string) (*quote.Quote, []byte, error) {
	data, err := File(command, name)
	if err != nil {
		return nil, nil, exit.BadInput(err)
	}
	if utf8.Valid(data) {
		if data, err = decodePEM(data); err != nil {
			return nil, nil, exit.BadInput(fmt.Errorf("%s: %w", name, err))
		}
	}
	q, err := quote.Parse(data)
	if err != nil {
		return nil, nil, exit.BadInput(fmt.Errorf("%s is not a quote: %w", name, err))
	}
	return q, data, nil
}

// decodePEM returns the one quote in text.
func decodePEM(text []byte) ([]byte, error) {
	var quotes [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == PEMType {
			quotes = append(quotes, block.Bytes)
		}
	}
	switch len(quotes) {
	case 0:
		return nil, fmt.Errorf("text without a PEM block %q at the start of a line", PEMType)
	case 1:
		return quotes[0], nil
	}
	return nil, fmt.Errorf("%d quotes in one text: pass exactly one", len(quotes))
}
