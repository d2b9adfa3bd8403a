package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/doctor"
	"github.com/confcom/confcom/internal/epcflags"
	"github.com/confcom/confcom/internal/qcnl"
)

func newDoctorCommand() *cobra.Command {
	var (
		output format
		d      doctor.Doctor
		only   []string
	)
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether quotes can be made here, and if not, why",
		Long: `Say whether quotes can be made here, and if not, why: check by check, from the
processor up to a quote. It examines the machine that it runs on, or the pod of the
quote helper, which has it, too:

  kubectl -n confcom-system exec ds/sgx-quote-helper -- confcom doctor

The checks are ` + strings.Join(doctor.Names(), ", ") + `.

Where a quote can be had, what else is not as it should be is a warning: it need not
be so in the pod of the quote helper.

Exit codes: 0 no problem, 1 a problem, 2 bad input.`,
		Example: `  confcom doctor
  confcom doctor --check=network --check=configuration
  confcom doctor -o json | jq '.[] | select(.verdict == "problem")'`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if d.Machine.Sysroot == "" {
				return badInput(errors.New("--sysroot: no directory is given"))
			}
			for _, name := range only {
				if !slices.Contains(doctor.Names(), name) {
					return badInput(fmt.Errorf("--check=%s: there is no such check; there are %s", name, strings.Join(doctor.Names(), ", ")))
				}
			}
			checks := d.Examine(command.Context(), func(name string) bool { return len(only) == 0 || slices.Contains(only, name) })
			var err error
			if output == formatJSON {
				err = writeJSON(command, checks)
			} else {
				err = showChecks(command.OutOrStdout(), checks)
			}
			if err != nil || slices.ContainsFunc(checks, func(c doctor.Check) bool { return c.Verdict == doctor.Problem }) {
				return failed(err)
			}
			return nil
		},
	}
	output.flag(command)
	flags := command.Flags()
	flags.StringArrayVar(&only, "check", nil, "make this check only (can be given again)")
	flags.StringVar(&d.Socket, "socket", aesm.DefaultSocket, "the `path` of the quote helper's socket")
	flags.StringVar(&d.Library, "dcap-library", "libsgx_dcap_ql.so.1", "Intel's quoting library, by `name` or path")
	flags.StringVar(&d.Provider, "dcap-provider", "libdcap_quoteprov.so.1", "the quote provider library, by `name` or path")
	flags.StringVar(&d.EnclaveDir, "enclave-dir", "", "the `directory` of the architectural enclaves; empty for that of the quoting library")
	flags.StringVar(&d.Configuration, "qcnl-config", qcnl.Path(), "the `path` of the configuration of Intel's default quote provider")
	flags.DurationVar(&d.Timeout, "timeout", 5*time.Second, "how long to wait for a service or the quote helper")
	epcflags.AddMachine(flags, &d.Machine)
	return command
}

// showChecks writes checks for people, and at the end whether they are in trouble.
func showChecks(w io.Writer, checks []doctor.Check) error {
	p := &page{w: w}
	var problems []string
	warnings := 0
	for _, c := range checks {
		p.text(c.Name, string(c.Verdict)+": "+c.Seen)
		if c.Remedy != "" {
			p.text("", "-> "+c.Remedy)
		}
		switch c.Verdict {
		case doctor.Problem:
			problems = append(problems, c.Name)
		case doctor.Warning:
			warnings++
		}
	}
	p.line("")
	switch len(problems) {
	case 0:
		p.line(summary(warnings))
	case 1:
		p.text("PROBLEM", problems[0])
	default:
		p.text("PROBLEMS", strings.Join(problems, ", ")+"; start with the first")
	}
	return p.err
}

// summary is the last line where there is no problem.
func summary(warnings int) string {
	switch warnings {
	case 0:
		return "no problem"
	case 1:
		return "no problem, 1 warning"
	}
	return fmt.Sprintf("no problem, %d warnings", warnings)
}
