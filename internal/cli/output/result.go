package output

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/confcom/confcom/attest"
)

// Result writes an attestation result: each check and, last, the verdict.
func Result(w io.Writer, r *attest.Result) error {
	if err := checks(w, r); err != nil {
		return err
	}
	verdict, c := "TRUSTED until "+until(r)+", unless something is revoked earlier", green
	switch {
	case errors.Is(r.Err(), attest.ErrIncomplete):
		verdict, c = "INCOMPLETE: no check failed, but required checks could not be made", plain
	case !r.Trusted:
		verdict, c = "NOT TRUSTED"+failed(r), red
	}
	_, err := fmt.Fprintln(w, painter(w)(verdict, c))
	return err
}

// Collateral writes the result of checking collateral alone.
func Collateral(w io.Writer, r *attest.Result) error {
	if err := checks(w, r); err != nil {
		return err
	}
	verdict, c := "VALID until "+until(r), green
	if !r.Trusted {
		verdict, c = "NOT VALID"+failed(r), red
	}
	_, err := fmt.Fprintln(w, painter(w)(verdict, c))
	return err
}

// checks writes what was checked, and what was not.
func checks(w io.Writer, r *attest.Result) error {
	paint := painter(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		state := paint("ok", green)
		if !c.Passed {
			state = paint("FAILED", red)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", state, c.Name, c.Detail)
	}
	for _, what := range r.NotChecked {
		fmt.Fprintf(t, "%s\tnot checked\t%s\n", paint("-", plain), what)
	}
	return t.Flush()
}

// failed names the checks that failed.
func failed(r *attest.Result) string {
	var names []string
	for _, c := range r.Checks {
		if !c.Passed {
			names = append(names, fmt.Sprint(c.Name))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (failed: " + strings.Join(names, ", ") + ")"
}

func until(r *attest.Result) string { return r.Expires.UTC().Format(time.RFC3339) }
