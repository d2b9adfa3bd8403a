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

// Result writes the attestation result of a verification as of a time: each check and,
// last, the verdict.
func Result(w io.Writer, r *attest.Result, at time.Time) error {
	if err := checks(w, r); err != nil {
		return err
	}
	verdict, c := "TRUSTED "+when(r, at), green
	if r.Expires.After(time.Now()) {
		verdict += ", unless something is revoked earlier"
	}
	switch {
	case errors.Is(r.Err(), attest.ErrIncomplete):
		verdict, c = "INCOMPLETE: no check failed, but required checks could not be made", plain
	case errors.Is(r.Err(), attest.ErrCollateral):
		verdict, c = "NOT TRUSTED: the collateral cannot be used"+failed(r), red
	case !r.Trusted:
		verdict, c = "NOT TRUSTED"+failed(r), red
	}
	_, err := fmt.Fprintln(w, painter(w)(verdict, c))
	return err
}

// Collateral writes the result of checking collateral alone, as of a time.
func Collateral(w io.Writer, r *attest.Result, at time.Time) error {
	if err := checks(w, r); err != nil {
		return err
	}
	verdict, c := "VALID "+when(r, at), green
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
	for _, s := range r.Short {
		fmt.Fprintf(t, "%s\tshort\t%s; %s\n", paint("-", plain), s, s.Remedy)
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

// when returns until when a result holds or, if that is in the past, as of which time it
// held.
func when(r *attest.Result, at time.Time) string {
	expires := r.Expires.UTC().Format(time.RFC3339)
	if r.Expires.After(time.Now()) {
		return "until " + expires
	}
	return "as of " + at.UTC().Format(time.RFC3339) + "; it has expired since, on " + expires
}
