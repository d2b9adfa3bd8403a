package output

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"
)

// Format is the value of the flag --output: text for people or JSON for programs.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json"
)

// FormatFlag declares the flag --output of a command and returns its value.
func FormatFlag(command *cobra.Command) *Format {
	format := Text
	command.Flags().VarP(&format, "output", "o", "output format")
	return &format
}

func (f *Format) String() string { return string(*f) }

// Type names the values in a help text.
func (f *Format) Type() string { return "text|json" }

// Set reads the value of the flag.
func (f *Format) Set(value string) error {
	switch v := Format(value); v {
	case Text, JSON:
		*f = v
		return nil
	}
	return errors.New("not one of text, json")
}

// WriteJSON writes v to the command's output.
func WriteJSON(command *cobra.Command, v any) error {
	encoder := json.NewEncoder(command.OutOrStdout())
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
