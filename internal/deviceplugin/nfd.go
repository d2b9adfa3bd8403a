package deviceplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/confcom/confcom/internal/epc"
)

// featureFile is the name of the feature file of Node Feature Discovery.
const featureFile = "confcom-sgx"

// writeFeatureFile has Node Feature Discovery write the EPC into the node's status in
// mode node: a rule turns the feature local.feature sgx.epc-mib into a resource. In
// other modes it removes the file.
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
	err := renameio.WriteFile(path, fmt.Appendf(nil, "%s# +no-label\nsgx.epc-mib=%d\n", signature(), c.MiB), 0o644,
		renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write NFD feature file: %w", nameFile(path, err))
	}
	return nil
}

// removeFeatureFile removes the feature file when the plugin ends, unless another instance
// has written it: during an update, that has taken over. Where an update stops the old
// plugin first, Node Feature Discovery may take the EPC of the node away meanwhile, if it
// looks in that second. Pods that run are not affected.
func removeFeatureFile(dir string) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, featureFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.HasPrefix(string(text), signature()) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("remove NFD feature file: %w", err)
	}
	return nil
}

// signature is a comment that names who has written a feature file. In a pod, the name of
// the host is that of the pod.
func signature() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return "# written by sgx-device-plugin on " + name + "\n"
}
