package output

import (
	"io"
	"os"
	"runtime"

	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// colour is the parameter of the escape sequence that selects a colour of a terminal
// (ECMA-48, SGR). All have the same length, which tables rely on.
type colour string

const (
	plain colour = "00"
	red   colour = "31"
	green colour = "32"
)

// painter returns a function that colours words if w shows colours.
func painter(w io.Writer) func(word string, c colour) string {
	if !showsColours(IsTerminal(w), runtime.GOOS, os.Getenv) {
		return func(word string, _ colour) string { return word }
	}
	return paint
}

func paint(word string, c colour) string {
	return "\x1b[" + string(c) + "m" + word + "\x1b[" + string(plain) + "m"
}

// showsColours reports whether to write escape sequences: to terminals only, and not
// if the user has set NO_COLOR. Consoles of Windows may not interpret them.
func showsColours(terminal bool, system string, getenv func(string) string) bool {
	return terminal && system != "windows" && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}
