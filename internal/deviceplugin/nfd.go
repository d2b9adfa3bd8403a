package deviceplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/confcom/confcom/internal/epc"
)

// featureFile is the name of the feature file of Node Feature Discovery.
const featureFile = "confcom-sgx"

// writeFeatureFile has Node Feature Discovery write the EPC into the node's status in
// mode node: a rule turns the feature local.feature sgx.epc-mib into a resource. In
// other modes it removes the file. The file stays when the plugin stops, so that pods
// keep their resource while it restarts.
func writeFeatureFile(dir string, c epc.Capacity) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, featureFile)
	if c.Mode != epc.Node {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove NFD feature file: %w", err)
		}
		return nil
	}
	// The temporary file's name begins with a dot: Node Feature Discovery skips it.
	err := renameio.WriteFile(path, fmt.Appendf(nil, "# +no-label\nsgx.epc-mib=%d\n", c.MiB), 0o644,
		renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write NFD feature file: %w", err)
	}
	return nil
}
