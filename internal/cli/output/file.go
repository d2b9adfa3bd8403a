package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/google/renameio/v2/maybe"
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/exit"
)

// FileFlag declares the flag --out of a command, which is required, and returns its
// value.
func FileFlag(command *cobra.Command) *string {
	name := command.Flags().String("out", "", "write to this `file`; \"-\" is standard output (required)")
	command.PreRunE = func(*cobra.Command, []string) error {
		if *name == "" {
			return errors.New(`--out: missing: name the file to write to, or "-" for standard output`)
		}
		return nil
	}
	return name
}

// Save writes what a command made to a file, "-" being its output, and reports that
// on standard error.
func Save(command *cobra.Command, name string, data []byte, what string) error {
	if name == "-" {
		if _, err := command.OutOrStdout().Write(data); err != nil {
			return exit.Failed(err)
		}
		return nil
	}
	if err := writeFile(name, data); err != nil {
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err // the path may be that of a temporary file
		}
		return exit.Failed(fmt.Errorf("write %s to %s: %w", what, name, err))
	}
	fmt.Fprintf(command.ErrOrStderr(), "wrote %s (%d bytes) to %s\n", what, len(data), name)
	return nil
}

// writeFile replaces a regular file at once where the system can, so that no reader finds
// half of it. Links are followed; devices, pipes and files that cannot be replaced, such as
// a single file that is mounted into a container, are written to.
func writeFile(name string, data []byte) error {
	const mode = 0o666 // less the umask
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(name, data, mode)
	}
	err := maybe.WriteFile(name, data, mode)
	for _, cannotReplace := range []error{fs.ErrPermission, syscall.EBUSY, syscall.EXDEV, syscall.EROFS} {
		if errors.Is(err, cannotReplace) {
			return os.WriteFile(name, data, mode)
		}
	}
	return err
}
