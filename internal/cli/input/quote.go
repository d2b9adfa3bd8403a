package input

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/quote"
)

// PEMType is the type of the PEM block that holds a quote where text is needed, as in
// the log of a pod.
const PEMType = evidence.PEMType

// Quote reads a quote from a file, "-" being standard input, in any of the forms of
// package evidence. It returns the quote and its bytes.
func Quote(command *cobra.Command, name string) (*quote.Quote, []byte, error) {
	e, err := Evidence(command, name)
	if err != nil {
		return nil, nil, err
	}
	return e.Parsed, e.Quote, nil
}

// Evidence is Quote with what else the file holds.
func Evidence(command *cobra.Command, name string) (*evidence.Evidence, error) {
	data, err := File(command, name)
	if err != nil {
		return nil, exit.BadInput(err)
	}
	e, err := evidence.Parse(data)
	if err != nil {
		return nil, exit.BadInput(fmt.Errorf("%s: %w", name, err))
	}
	return e, nil
}
