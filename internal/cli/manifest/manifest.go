// Package manifest is the command 'confcom manifest': it converts manifests that were written
// for other SGX plugins.
package manifest

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/manifest"
)

// New returns the command.
func New() *cobra.Command {
	return args.Group(&cobra.Command{
		Use:   "manifest",
		Short: "Convert manifests for other SGX plugins",
		Long:  `Convert Kubernetes manifests that were written for other SGX plugins.`,
	}, convert())
}

func convert() *cobra.Command {
	command := &cobra.Command{
		Use:   "convert FILE",
		Short: "Convert a manifest for another SGX plugin",
		Long: `Convert a manifest, in YAML or JSON, that was written for the SGX plugin of Intel,
Alibaba or Azure, so that its pods get EPC, device and quotes with confcom. Comments and
layout stay as they are. What changes is reported on standard error, and so is what may
not work.

  sgx.intel.com/epc (bytes)             becomes EPC in MiB, rounded up
  alibabacloud.com/sgx_epc_MiB          becomes the same number
  older names of Azure                  become the same number
  sgx.intel.com/enclave beside EPC      is removed: the device comes with EPC
  sgx.intel.com/quote-provider: aesmd   adds SGX_AESM_ADDR=1 to the containers with EPC
  the same, naming a container          adds sgx.intel.com/provision: 1 to that one
  unquoted values of variables          are quoted

The exit code is 0 if the manifest is converted or needs no change, 1 with --check if it
needs one, and 2 if it cannot be read or converted.`,
		Example: `  confcom manifest convert job.yaml | kubectl apply -f -
  helm template app ./chart | confcom manifest convert - | kubectl apply -f -
  confcom manifest convert job.yaml --out job.yaml`,
		Args: args.File,
	}
	out := command.Flags().String("out", "-", "write the manifest to this `file`; \"-\" is standard output")
	check := command.Flags().Bool("check", false, "write nothing; exit with 1 if something would change")
	resource := command.Flags().String("epc-resource", manifest.DefaultResource, "the `name` of the resource that counts MiB of EPC (the chart's epc.resource)")
	command.RunE = func(command *cobra.Command, files []string) error {
		text, err := input.File(command, files[0])
		if err != nil {
			return exit.BadInput(err)
		}
		result, err := manifest.Convert(text, *resource)
		if err != nil {
			return exit.BadInput(fmt.Errorf("%s: %w", files[0], err))
		}
		report(command.ErrOrStderr(), files[0], result)
		switch {
		case *check && len(result.Changes) > 0:
			return exit.Quietly(exit.CodeFailed)
		case *check:
			return nil
		}
		return output.Save(command, *out, result.Text, "manifest")
	}
	return command
}

// report writes what was changed and what is left.
func report(w io.Writer, file string, result manifest.Result) {
	line := func(kind string, f manifest.Finding) {
		where := f.Where
		if where != "" {
			where += ": "
		}
		fmt.Fprintf(w, "%s:%d: %s%s%s\n", file, f.Line, kind, where, f.Detail)
	}
	for _, f := range result.Changes {
		line("", f)
	}
	for _, f := range result.Notes {
		line("note: ", f)
	}
	if len(result.Changes) == 0 {
		fmt.Fprintf(w, "%s: nothing to change\n", file)
	}
}
