package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/confcom/confcom/internal/qcnl"
)

// read returns the configuration of Intel's provider, and the findings in it.
func (d *Doctor) read() (qcnl.Config, []qcnl.Finding, error) {
	text, err := os.ReadFile(d.path(d.Configuration))
	if err != nil {
		return qcnl.Default(), nil, err
	}
	config, findings := qcnl.Parse(text)
	return config, findings, nil
}

// ofAzure reports whether the provider is Azure's, which does not use that configuration.
func (d *Doctor) ofAzure() bool {
	found := d.installed()
	return len(found) == 1 && found[0].pack == azureProvider
}

// configuration checks the configuration of Intel's quote provider.
func (d *Doctor) configuration(context.Context) Check {
	if d.ofAzure() {
		return skipped("the quote provider is " + azureProvider + ", which is configured by environment variables (AZDCAP_*)")
	}
	_, findings, err := d.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warning(d.Configuration+" does not exist: the provider uses a PCCS (Provisioning Certificate Caching Service) on this machine",
			"create the file, or set dcap.provider in the chart's values")
	case err != nil:
		return problem(err.Error(), "make the file readable for this user")
	case len(findings) == 0:
		return ok(d.Configuration)
	}
	verdict := OK
	var seen, remedies []string
	for _, f := range findings {
		where := d.Configuration
		if f.Line > 0 {
			where += fmt.Sprintf(":%d", f.Line)
		}
		switch f.Severity {
		case qcnl.Note:
			seen = append(seen, where+" (note): "+f.Text+": "+f.Remedy)
			continue
		case qcnl.Error:
			verdict = Problem
		case qcnl.Warning:
			if verdict == OK {
				verdict = Warning
			}
		}
		seen = append(seen, where+": "+f.Text)
		remedies = append(remedies, f.Remedy)
	}
	return Check{Verdict: verdict, Seen: strings.Join(seen, "; "), Remedy: strings.Join(remedies, "; ")}
}
