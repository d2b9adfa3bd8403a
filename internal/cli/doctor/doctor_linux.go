package doctor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/doctor"
	"github.com/confcom/confcom/internal/epcflags"
	"github.com/confcom/confcom/internal/qcnl"
)

func configure(command *cobra.Command) {
	var d doctor.Doctor
	checks := strings.Join(doctor.Names(), ", ")
	format := output.FormatFlag(command)
	flags := command.Flags()
	only := flags.StringArray("check", nil, "run only the check of this `name`; repeatable. The checks are "+checks)
	flags.StringVar(&d.Socket, "socket", aesm.DefaultSocket, "`path` of the quote helper's socket")
	flags.StringVar(&d.Library, "dcap-library", "libsgx_dcap_ql.so.1", "`name` or path of Intel's quoting library")
	flags.StringVar(&d.Provider, "dcap-provider", "libdcap_quoteprov.so.1", "`name` or path of the quote provider library")
	flags.StringVar(&d.EnclaveDir, "enclave-dir", "", "`directory` of the architectural enclaves; empty for that of the quoting library")
	flags.StringVar(&d.Configuration, "qcnl-config", qcnl.Path(), "`path` of the configuration of Intel's default quote provider")
	flags.DurationVar(&d.Timeout, "timeout", 5*time.Second, "timeout of each request to a service or the quote helper")
	epcflags.AddMachine(flags, &d.Machine)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if d.Machine.Sysroot == "" {
			return errors.New("--sysroot: missing directory")
		}
		for _, name := range *only {
			if !slices.Contains(doctor.Names(), name) {
				return fmt.Errorf("--check=%s: not one of %s", name, checks)
			}
		}
		found := d.Examine(command.Context(), func(name string) bool { return len(*only) == 0 || slices.Contains(*only, name) })
		var err error
		if *format == output.JSON {
			err = output.WriteJSON(command, found)
		} else {
			err = show(command.OutOrStdout(), found)
		}
		switch {
		case err != nil:
			return exit.Failed(err)
		case slices.ContainsFunc(found, func(c doctor.Check) bool { return c.Verdict == doctor.Problem }):
			return exit.Quietly(exit.CodeFailed)
		}
		return nil
	}
}

// show writes checks as text and, last, a summary.
func show(w io.Writer, checks []doctor.Check) error {
	p := output.NewPage(w)
	var problems []string
	warnings := 0
	for _, c := range checks {
		p.Text(c.Name, string(c.Verdict)+": "+c.Seen)
		if c.Remedy != "" {
			p.Text("", "-> "+c.Remedy)
		}
		switch c.Verdict {
		case doctor.Problem:
			problems = append(problems, c.Name)
		case doctor.Warning:
			warnings++
		}
	}
	p.Line("")
	switch len(problems) {
	case 0:
		p.Line("no problem" + plural(warnings))
	case 1:
		p.Text("PROBLEM", problems[0])
	default:
		p.Text("PROBLEMS", strings.Join(problems, ", ")+"; start with the first")
	}
	return p.Err()
}

// plural returns the number of warnings for the end of a sentence.
func plural(warnings int) string {
	switch warnings {
	case 0:
		return ""
	case 1:
		return ", 1 warning"
	}
	return fmt.Sprintf(", %d warnings", warnings)
}
