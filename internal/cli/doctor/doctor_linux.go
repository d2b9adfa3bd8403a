package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/doctor"
	"github.com/confcom/confcom/internal/epcflags"
)

func configure(command *cobra.Command) {
	var d doctor.Doctor
	checks := strings.Join(doctor.Names(), ", ")
	format := output.FormatFlag(command)
	flags, defaults := command.Flags(), config.Default()
	daemonAddress := flags.String("daemon-address", "", "`host:port` at which a daemon of confcom in this pod or on this machine serves /statusz; its flags are used here, unless they are given. Found out if it is not given; empty to ask none")
	flags.Var(&d.Place, "place", "what is examined: \"node\", a machine; \"helper\", the quote helper's pod; \"daemon\", the pod of another daemon; \"application\", a pod that needs quotes. Found out if it is not given")
	only := flags.StringArray("check", nil, "run only the check of this `name`; repeatable. The checks are "+checks)
	flags.StringVar(&d.Socket, "socket", aesm.DefaultSocket, "`path` of the quote helper's socket")
	flags.StringVar(&d.Library, "dcap-library", defaults.Library, "`name` or path of Intel's quoting library")
	flags.StringVar(&d.Provider, "dcap-provider", defaults.Provider, "`name` or path of the quote provider library")
	flags.StringVar(&d.EnclaveDir, "enclave-dir", "", "`directory` of the architectural enclaves; empty for that of the quoting library")
	flags.StringVar(&d.Configuration, "qcnl-config", defaults.QCNL, "`path` of the configuration of Intel's default quote provider")
	flags.StringVar(&d.Worker, "worker-program", defaults.Program, "`path` of sgx-quote-worker, which runs the quote provider for the check network")
	flags.StringVar(&d.Certificates, "certificates-dir", "", "`directory` in which the quote helper keeps the platform's certificates, and what it has asked for")
	platform := flags.String("platform-id", "", "ask for the certificates of the platform in this `file` of Intel's PCKIDRetrievalTool, and not for those that the quote helper has asked for")
	flags.DurationVar(&d.FetchTimeout, "certificates-timeout", defaults.FetchTimeout, "how long the quote provider may take to fetch certificates")
	flags.DurationVar(&d.Timeout, "timeout", 15*time.Second, "timeout of each request to a service or the quote helper; by default as long as clients of the quote helper wait")
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
		if !flags.Changed("daemon-address") {
			*daemonAddress = doctor.Address("/proc")
		}
		if *daemonAddress != "" {
			d.Told = doctor.Ask(command.Context(), *daemonAddress)
		}
		for name, value := range doctor.Adopted(d.Told) {
			if flags.Changed(name) {
				continue
			}
			if err := flags.Set(name, value); err != nil {
				return exit.Failed(fmt.Errorf("--%s=%s of %s: %w", name, value, d.Told.Daemon, err))
			}
		}
		if d.Place == "" {
			d.Place = doctor.Here(d.Told)
		}
		for _, name := range []string{"timeout", "certificates-timeout"} {
			if limit, err := flags.GetDuration(name); err != nil || limit <= 0 {
				return fmt.Errorf("--%s=%s: must be greater than 0", name, limit)
			}
		}
		if *platform != "" {
			text, err := os.ReadFile(*platform)
			if err != nil {
				return exit.BadInput(fmt.Errorf("--platform-id: %w", err))
			}
			query, err := certificates.ParsePCKID(text)
			if err != nil {
				return exit.BadInput(fmt.Errorf("--platform-id: %s is no file of PCKIDRetrievalTool: %w", *platform, err))
			}
			d.Platform = &query
		}
		// A check may have started a process and made files, which it removes.
		ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		found := d.Examine(ctx, *only...)
		if ctx.Err() != nil {
			return exit.Failed(errors.New("interrupted"))
		}
		var err error
		if *format == output.JSON {
			err = output.WriteJSON(command, found)
		} else {
			err = show(command.OutOrStdout(), &d, found)
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

// show writes checks as text and, last, a summary. Checks that were skipped for one reason
// share a line.
func show(w io.Writer, d *doctor.Doctor, checks []doctor.Check) error {
	p := output.NewPage(w)
	p.Text("examined", d.Examined())
	p.Line("")
	var problems []string
	warnings := 0
	for i, c := range checks {
		name := c.Name
		if c.Verdict == doctor.Skipped {
			alike := func(other doctor.Check) bool { return other.Verdict == c.Verdict && other.Seen == c.Seen }
			if slices.ContainsFunc(checks[:i], alike) {
				continue
			}
			for _, other := range checks[i+1:] {
				if alike(other) {
					name += ", " + other.Name
				}
			}
		}
		if text := string(c.Verdict) + ": " + c.Seen; name == c.Name {
			p.Text(name, text)
		} else {
			p.Text("("+string(c.Verdict)+")", name+": "+c.Seen)
		}
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
